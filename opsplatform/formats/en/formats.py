"""Times as the API writes them: UTC, sortable, the same for every reader. To the second: ids tell the rest."""

DATETIME_FORMAT = r"Y-m-d H:i:s\Z"
SHORT_DATETIME_FORMAT = DATETIME_FORMAT
DATE_FORMAT = "Y-m-d"
SHORT_DATE_FORMAT = DATE_FORMAT
TIME_FORMAT = "H:i:s"
