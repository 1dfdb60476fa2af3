"""Bodies of health, for parsing and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.health.lifecycle import Signal
from apps.health.models import CLASSIFICATIONS, STATUSES
from apps.health.remedies import Outcome

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$"
CODE = r"^[a-z][a-z0-9_.-]*$"
DAY_S = 86_400
REPORTED_KINDS = ["connector", "module", "service", "process"]
SIGNALS = [each.value for each in Signal]


class CountFields(StrictSerializer):
    """Of how many things it did, how many failed: what its error rate is made of."""

    total = serializers.IntegerField(min_value=0, max_value=1_000_000_000)
    failed = serializers.IntegerField(min_value=0, max_value=1_000_000_000, required=False, default=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse more failures than there were things to fail."""
        if attrs["failed"] > attrs["total"]:
            raise serializers.ValidationError({"failed": ["at most `total` would be right"]})
        return attrs


class TermsFields(StrictSerializer):
    """What is agreed of the component from now on; what is left out stays."""

    kind = serializers.ChoiceField(REPORTED_KINDS, required=False)
    interval_s = serializers.FloatField(
        min_value=1, max_value=31 * DAY_S, required=False, allow_null=True, help_text="a sign comes at least so often"
    )
    grace_s = serializers.FloatField(min_value=0, max_value=31 * DAY_S, required=False, help_text="beyond, until down")
    failure_threshold = serializers.IntegerField(min_value=1, max_value=100, required=False)
    success_threshold = serializers.IntegerField(min_value=1, max_value=100, required=False)
    expected = serializers.BooleanField(required=False, help_text="its silence is an alarm also before its first sign")
    depends_on = serializers.ListField(
        child=serializers.RegexField(r"^[A-Za-z0-9._:@-]+/[A-Za-z0-9._:@-]+$", max_length=129),
        max_length=20,
        required=False,
        help_text="module/component, of its own tenant or the platform's: while one is down, this one is muted",
    )
    max_error_rate = serializers.FloatField(min_value=0, max_value=1, required=False, allow_null=True)
    max_latency_ms = serializers.FloatField(min_value=0, max_value=DAY_S * 1000, required=False, allow_null=True)
    classification = serializers.ChoiceField(CLASSIFICATIONS, required=False)


class HeartbeatFields(StrictSerializer):
    """A module's word on a component of its own."""

    tenant_id = serializers.CharField(max_length=48, required=False, help_text="left out: the token's only one")
    module = serializers.RegexField(NAME, max_length=64, required=False, help_text="left out: the token's subject")
    component = serializers.RegexField(NAME, max_length=64)
    signal = serializers.ChoiceField(
        SIGNALS,
        required=False,
        default=Signal.SUCCESS.value,
        help_text="start: a run began; nothing is known of its end",
    )
    reason = serializers.RegexField(CODE, max_length=64, required=False, help_text="of a fail: a code, no message")
    run_id = serializers.RegexField(NAME, max_length=64, required=False, help_text="ties a start to its end")
    latency_ms = serializers.FloatField(min_value=0, max_value=DAY_S * 1000, required=False)
    counts = CountFields(required=False)
    version = serializers.CharField(
        max_length=64, required=False, help_text="of its module; a contract phase waits until none is older"
    )
    region = serializers.CharField(max_length=32, required=False, help_text="where it runs: its tenant's region")
    terms = TermsFields(required=False)


class AffectedFields(serializers.Serializer[Any]):
    """The blast radius of what is not well, as counts."""

    tenants = serializers.IntegerField(help_text="with unfinished work there")
    jobs = serializers.IntegerField(help_text="their unfinished jobs")
    your_jobs = serializers.IntegerField(help_text="of them the caller's tenant's own", allow_null=True)


class ComponentFields(serializers.Serializer[Any]):
    """A component as it stands."""

    module = serializers.CharField()
    component = serializers.CharField()
    tenant_id = serializers.CharField(allow_null=True, help_text="null: the platform's own")
    kind = serializers.CharField()
    status = serializers.ChoiceField(STATUSES)
    since = serializers.DateTimeField()
    reason = serializers.CharField(help_text="a code")
    last_check = serializers.DateTimeField(allow_null=True, help_text="the last sign of it")
    latency = serializers.FloatField(allow_null=True, help_text="milliseconds, the last one measured")
    error_rate = serializers.FloatField(allow_null=True, help_text="`failed` of `checks`, over 15 minutes")
    failed = serializers.IntegerField()
    checks = serializers.IntegerField()
    expected = serializers.BooleanField()
    flapping = serializers.BooleanField(help_text="it went bad so often lately that recovery has to be proven longer")
    depends_on = serializers.ListField(child=serializers.CharField())
    muted_by = serializers.ListField(child=serializers.CharField(), help_text="what it depends on and is down")
    affected = AffectedFields()
    version = serializers.CharField()
    region = serializers.CharField()
    classification = serializers.CharField()


class FlipFields(serializers.Serializer[Any]):
    """A change of status, dated to when it became true."""

    old = serializers.ChoiceField(STATUSES)
    new = serializers.ChoiceField(STATUSES)
    reason = serializers.CharField()
    at = serializers.DateTimeField()
    noticed_at = serializers.DateTimeField()
    muted_by = serializers.ListField(child=serializers.CharField())


class PercentileFields(serializers.Serializer[Any]):
    """Latencies of the last hour, in milliseconds, to a bucket's precision."""

    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    p99 = serializers.FloatField(allow_null=True)
    count = serializers.IntegerField()


class RecoveryReceiptFields(serializers.Serializer[Any]):
    """What was done about it, and whether that helped."""

    receipt_id = serializers.UUIDField()
    policy = serializers.CharField()
    action = serializers.CharField()
    condition = serializers.DictField()
    outcome = serializers.ChoiceField([each.value for each in Outcome])
    facts = serializers.DictField(help_text="what the action did, in counts")
    proof = serializers.DictField(help_text="how it stands since")
    dry_run = serializers.BooleanField()
    begun_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class TermsReadFields(serializers.Serializer[Any]):
    """What is agreed of it."""

    interval_s = serializers.FloatField(allow_null=True)
    grace_s = serializers.FloatField()
    failure_threshold = serializers.IntegerField()
    success_threshold = serializers.IntegerField()
    max_error_rate = serializers.FloatField(allow_null=True)
    max_latency_ms = serializers.FloatField(allow_null=True)


class OneComponentFields(ComponentFields):
    """A component with its history."""

    terms = TermsReadFields()
    by_tenant = serializers.DictField(
        child=serializers.IntegerField(), allow_null=True, help_text="whom it hits, for the platform alone; else null"
    )
    due_at = serializers.DateTimeField(allow_null=True, help_text="when silence will change it")
    latencies = PercentileFields()
    flips = FlipFields(many=True, help_text="the last fifty, newest first")
    receipts = RecoveryReceiptFields(many=True, help_text="the last twenty recoveries, newest first")


class ModuleFields(serializers.Serializer[Any]):
    """A module in one word."""

    module = serializers.CharField()
    status = serializers.ChoiceField(STATUSES, help_text="the worst of its components that nobody has muted")
    components = serializers.IntegerField()


class HealthFields(serializers.Serializer[Any]):
    """The whole map."""

    status = serializers.ChoiceField(STATUSES, help_text="the worst of those that nobody has muted")
    trusted = serializers.BooleanField(help_text="false: the plane does not trust its own ears, and says unknown")
    distrusted_since = serializers.DateTimeField(allow_null=True)
    looked_at = serializers.DateTimeField(allow_null=True, help_text="when the watcher looked last")
    stale = serializers.BooleanField(help_text="the watcher has not looked for 15 seconds")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="components by status")
    withheld = serializers.IntegerField(help_text="components that a policy withholds from the caller")
    modules = ModuleFields(many=True)
    components = ComponentFields(many=True)
