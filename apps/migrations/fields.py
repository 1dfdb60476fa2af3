"""Bodies of migrations, for parsing and for the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.migrations.definition import Kind, Phase, Risk, TargetKind
from apps.migrations.lifecycle import Stage
from apps.migrations.models import DIRECTIONS, STATES, STEP_STATES, TARGET_STATES, VERDICTS, WAVE_STATES

TENANT = r"[a-z][a-z0-9-]{1,47}"
CHECKSUM = r"\Asha256:[0-9a-f]{64}\Z"
NAME = r"\A[a-z][a-z0-9_-]{0,62}\Z"
VERSION = r"\A[0-9A-Za-z][0-9A-Za-z.+_-]{0,62}\Z"
MOST_TARGETS = 10_000
EVERY_TENANT = "*"
RISKS = [risk.value for risk in Risk]
STAGES = [stage.value for stage in Stage]
TARGET_KINDS = [kind.value for kind in TargetKind]
PHASES = [phase.value for phase in Phase]
STEP_KINDS = [kind.value for kind in Kind]


class TrueOrFalse(serializers.BooleanField):
    """JSON's own true or false: a word that is taken for either may run what was to be tried."""

    def to_internal_value(self, data: Any) -> bool:
        """Return it; refuse everything else."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("true or false would be right")
        return data


class TenantsField(serializers.JSONField):
    """A list of tenants, or `"*"`."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the tenants, each once; refuse what is neither."""
        if data == EVERY_TENANT:
            return EVERY_TENANT
        if not isinstance(data, list) or not data or len(data) > MOST_TARGETS:
            raise serializers.ValidationError(f'a list of 1 to {MOST_TARGETS} tenants, or "*", would be right')
        for each in data:
            if not isinstance(each, str) or not re.fullmatch(TENANT, each):
                raise serializers.ValidationError("tenants by their ids, as 'acme', would be right")
        return list(dict.fromkeys(data))


class VersionField(serializers.RegexField):
    """A version: a text. A number is refused, since nobody can tell 1.50 from 1.5 once it is read."""

    def __init__(self, **more: Any) -> None:
        """Take what a definition takes for its versions."""
        super().__init__(VERSION, **more)

    def to_internal_value(self, data: Any) -> str:
        """Return the version; refuse what is no text."""
        if not isinstance(data, str):
            raise serializers.ValidationError('a text in quotes, as "1.5", would be right')
        return str(super().to_internal_value(data))


class TargetsFields(StrictSerializer):
    """What it goes through, by the kind of targets that the definition has."""

    tenants = TenantsField(
        required=False, help_text='of kind tenant: their ids; "*", all, for a token of every tenant'
    )  # fmt: skip
    environments = serializers.ListField(
        child=serializers.CharField(max_length=48),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="of kind environment: their names",
    )


class MigrateFields(StrictSerializer):
    """A migration as it is asked for."""

    tenant_id = serializers.CharField(
        max_length=48,
        required=False,
        help_text="on whose account it runs; may be left out when the token names one tenant",
    )
    definition = serializers.RegexField(NAME, help_text="its name")
    version_to = VersionField(help_text="where it leads")
    version_from = VersionField(
        required=False, allow_null=True, default=None, help_text="needed where several lead there"
    )
    targets = TargetsFields(required=False, default=dict, help_text="none for a definition of kind module")
    waves = serializers.JSONField(
        required=False,
        allow_null=True,
        default=None,
        help_text="other waves than the definition's, in its own words: a list of {count}, {percent} or {targets}, or"
        " {by: risk, waves: 3}",
    )
    dry_run = TrueOrFalse(required=False, default=False, help_text="plan, rehearse, and no more")
    drill = TrueOrFalse(
        required=False, default=False, help_text="the first wave goes up, down and up again before the rest"
    )
    baseline = TrueOrFalse(
        required=False,
        default=False,
        help_text="who says no version, and is recorded at none, counts as being at `version_from`",
    )
    plan = serializers.RegexField(
        CHECKSUM,
        required=False,
        allow_null=True,
        default=None,
        help_text="a dry run's plan_checksum: where the new plan is another one, nothing runs (`plan_changed`)",
    )


class MigrationCommandFields(StrictSerializer):
    """A command."""

    reason = serializers.CharField(max_length=500, required=False, allow_null=True, default=None, help_text="kept")


class ApproveFields(StrictSerializer):
    """What a person says yes to."""

    note = serializers.CharField(max_length=500, required=False, default="", allow_blank=True, help_text="kept")
    plan = serializers.RegexField(
        CHECKSUM,
        required=False,
        allow_null=True,
        default=None,
        help_text="the plan_checksum that was read: another plan is not approved",
    )


class OfDefinitionFields(serializers.Serializer[Any]):
    """Which definition, and in which form: it is never changed once it was used."""

    name = serializers.CharField()
    to = serializers.CharField()
    checksum = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one of them is called as no attribute may be."""
        return {**super().get_fields(), "from": serializers.CharField()}


class CauseFields(serializers.Serializer[Any]):
    """Why it stands where it stands."""

    code = serializers.CharField()
    sentence = serializers.CharField(allow_null=True)


class GivenFields(serializers.Serializer[Any]):
    """A person's yes."""

    by = serializers.CharField()
    at = serializers.DateTimeField()
    note = serializers.CharField()


class ApprovalsFields(serializers.Serializer[Any]):
    """How many other people than its author have to agree, and who did."""

    needed = serializers.IntegerField()
    given = GivenFields(many=True)


class MigrationFields(serializers.Serializer[Any]):
    """A migration as read."""

    id = serializers.UUIDField()
    tenant_id = serializers.CharField(help_text="on whose account it runs")
    definition = OfDefinitionFields()
    module = serializers.CharField()
    description = serializers.CharField()
    status = serializers.ChoiceField(STATES)
    reason = CauseFields(allow_null=True)
    version = serializers.IntegerField(help_text="grows with every transition")
    progress = serializers.FloatField(help_text="from 0 to 1")
    eta_s = serializers.FloatField(
        allow_null=True, help_text="seconds it may still take; null where it does not run, or nobody can say"
    )
    evidence = serializers.DictField(allow_null=True, help_text="the record of its last transition: state, ref")
    dry_run = serializers.BooleanField()
    drill = serializers.BooleanField()
    plan_checksum = serializers.CharField(allow_null=True)
    risk = serializers.ChoiceField(RISKS, allow_null=True)
    approvals = ApprovalsFields()
    stage = serializers.ChoiceField(STAGES)
    wave = serializers.IntegerField(allow_null=True, help_text="the one under way, or the last that was")
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    planned_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    stopped_at = serializers.DateTimeField(allow_null=True, help_text="paused or inconclusive since")
    finished_at = serializers.DateTimeField(allow_null=True)
    links = serializers.DictField(child=serializers.CharField())


class WaveFields(serializers.Serializer[Any]):
    """Targets that go together."""

    number = serializers.IntegerField()
    state = serializers.ChoiceField(WAVE_STATES)
    drill = serializers.CharField(help_text="of the first wave of a drill: none, up, down, again, done")
    verdict = serializers.ChoiceField(VERDICTS, allow_null=True)
    facts = serializers.DictField(help_text="what its gates saw")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    targets = serializers.DictField(child=serializers.IntegerField(), help_text="how many are in which state")


class StepErrorFields(serializers.Serializer[Any]):
    """Why a step failed; never the data."""

    code = serializers.CharField()
    message = serializers.CharField(allow_null=True)


class StepFields(serializers.Serializer[Any]):
    """A step at a target."""

    name = serializers.CharField()
    phase = serializers.ChoiceField(PHASES)
    kind = serializers.ChoiceField(STEP_KINDS)
    state = serializers.ChoiceField(STEP_STATES)
    direction = serializers.ChoiceField(DIRECTIONS)
    run = serializers.IntegerField(help_text="how many jobs were made for it")
    cursor = serializers.CharField(allow_null=True, help_text="how far a backfill came, in its own key")
    done = serializers.IntegerField(allow_null=True)
    total = serializers.IntegerField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    error = StepErrorFields(allow_null=True)


class TargetFields(serializers.Serializer[Any]):
    """What is migrated."""

    target = serializers.CharField(help_text="the tenant, module or environment")
    kind = serializers.ChoiceField(TARGET_KINDS)
    tenant_id = serializers.CharField()
    wave = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(TARGET_STATES)
    reason = CauseFields(allow_null=True)
    version_before = serializers.CharField(allow_null=True)
    version_after = serializers.CharField(allow_null=True, help_text="as read back")
    digest_before = serializers.CharField(allow_null=True, help_text="of its schema")
    digest_after = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    steps = StepFields(many=True)


class SetAsideFields(serializers.Serializer[Any]):
    """What is not touched, and why."""

    target = serializers.CharField()
    tenant_id = serializers.CharField()
    reason = CauseFields()
    version = serializers.CharField(allow_null=True, help_text="as read")
    differs = serializers.ListField(child=serializers.CharField(), help_text="the objects that are not as in most")


class WholeMigrationFields(MigrationFields):
    """A migration with its plan, its waves and its targets."""

    plan = serializers.JSONField(allow_null=True, help_text="docs/migrations.md#the-plan")
    waves = WaveFields(many=True)
    targets = TargetFields(many=True, help_text="in the order in which they go; the first 100, or the page asked for")
    targets_total = serializers.IntegerField(help_text="those of the plan, whoever's")
    targets_by_state = serializers.DictField(child=serializers.IntegerField())
    targets_unnamed = serializers.IntegerField(help_text="of tenants outside the token: counted, never named")
    targets_next = serializers.UUIDField(allow_null=True, help_text="`targets` of the next page")
    set_aside = SetAsideFields(many=True, help_text="the first 1,000")
    set_aside_total = serializers.IntegerField()


class MigrationPageFields(serializers.Serializer[Any]):
    """A page of migrations, newest first."""

    items = MigrationFields(many=True)
    next = serializers.CharField(allow_null=True)


class DefinedStepFields(serializers.Serializer[Any]):
    """A step of a definition."""

    name = serializers.CharField()
    phase = serializers.ChoiceField(PHASES)
    kind = serializers.ChoiceField(STEP_KINDS)
    undoes = serializers.BooleanField(help_text="there is something to take back, and it says how")
    checksum = serializers.CharField()


class DefinitionFields(OfDefinitionFields):
    """A migration that can be run here."""

    module = serializers.CharField()
    description = serializers.CharField()
    risk = serializers.ChoiceField(RISKS, help_text="at least; what its steps do may raise it")
    target_kind = serializers.ChoiceField(TARGET_KINDS)
    on_failure = serializers.CharField()
    steps = DefinedStepFields(many=True)


class DefinitionsFields(serializers.Serializer[Any]):
    """What can be run here."""

    items = DefinitionFields(many=True)
    next = serializers.CharField(allow_null=True)
