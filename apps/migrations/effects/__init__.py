"""What SQL does to a target, read off PostgreSQL's own parse tree. Pure: text in, facts out.

The parser is libpg_query, the grammar of PostgreSQL 18 itself. What no text can tell (a DO block, a called procedure)
is said to be opaque, never guessed. A table that the same text makes has no rows and no users: nothing blocks there.
"""

from apps.migrations.effects.facts import Effect, Fact
from apps.migrations.effects.text import BOUNDS, BadSqlError, Reading, filled, read

__all__ = ["BOUNDS", "BadSqlError", "Effect", "Fact", "Reading", "filled", "read"]
