"""`manage.py load_catalogue`: idempotent, all or nothing, and clear about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.integration.conftest import Change, Look

GOOD = """
plans:
  - {plan_id: silver, job_types: ["ops.*"], max_running: 3, jobs_per_day: 50, rate: 100/m burst 20}
subscriptions:
  - {tenant_id: globex, plan_id: silver, valid_until: 2099-01-01T00:00:00Z}
policies:
  - {policy_id: no-crash, job_types: [ops.crash], reason_code: no_crash, reason: not here}
contracts:
  - name: kpi.revenue
    version: 3
    job_types: [kpi.refresh]
    tenants: [globex]
    obligations: {retention_days: 30}
    document:
      apiVersion: v3.1.0
      kind: DataContract
      id: 53581432-6c55-4ba2-a65f-72344a91553a
      name: revenue
      version: 3.0.0
      status: active
      schema:
        - name: revenue
          logicalType: object
          properties:
            - {name: day, logicalType: date, required: true, primaryKey: true}
            - {name: total, logicalType: number, quality: [{type: sql, query: "SELECT 1", mustBe: 1}]}
      slaProperties: [{property: retention, value: 3, unit: y}]
"""


def load(tmp_path: Path, text: str) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(text)
    call_command("load_catalogue", str(file))


def everything(look: Look) -> list[object]:
    return [
        look("SELECT plan_id, job_types, weight, max_running, jobs_per_day, backlog_cap, rate FROM plans ORDER BY 1"),
        look("SELECT tenant_id, plan_id, state, valid_until FROM subscriptions ORDER BY 1"),
        look("SELECT * FROM contracts ORDER BY name, version"),
        look("SELECT policy_id, job_types, tenants, reason_code, active FROM policies ORDER BY 1"),
    ]


def test_a_catalogue_is_loaded_and_loading_it_again_changes_nothing(
    look: Look, change: Change, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path, GOOD)
    assert capsys.readouterr().out == "1 plans, 1 subscriptions, 1 contracts, 1 policies\n"
    (contract,) = look("SELECT * FROM contracts WHERE name = 'kpi.revenue'")
    assert (contract["version"], contract["state"], contract["tenants"]) == (3, "active", ["globex"])
    (silver,) = look("SELECT * FROM plans WHERE plan_id = 'silver'")
    assert (silver["max_running"], silver["jobs_per_day"], silver["weight"]) == (3, 50, 100)
    assert silver["rate"] == "100/m burst 20"
    (subscription,) = look("SELECT * FROM subscriptions WHERE tenant_id = 'globex'")
    assert (subscription["plan_id"], subscription["valid_until"].year) == ("silver", 2099)
    before = everything(look)
    load(tmp_path, GOOD)
    assert everything(look) == before


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("status: active", "status: alive", "contracts.0.document.status"),
        ("      id: 53581432-6c55-4ba2-a65f-72344a91553a\n", "", "contracts.0.document.id"),
        ("apiVersion: v3.1.0", "apiVersion: v2.2.2", "contracts.0.document.apiVersion"),
        ("logicalType: date", "logicalType: day", "contracts.0.document.schema.0.properties.0.logicalType"),
        ("max_running: 3", "max_running: 0", "plans.0.max_running"),
        ("max_running: 3", "slots: 3", "plans.0"),
        ("rate: 100/m burst 20", "rate: 100 a minute", "plans.0: rate: '5/s'"),
        ("rate: 100/m burst 20", "rate: 100", "plans.0.rate"),
        ("plan_id: silver, valid", "plan_id: bronze, valid", "subscriptions.0"),
        ("tenant_id: globex", "tenant_id: nobody", "subscriptions.0"),
        ("2099-01-01T00:00:00Z", "tomorrow", "subscriptions.0: valid_until"),
        ("plans:", "plan:", "file"),
        ("plans:", "plans: [", "catalogue.yaml"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    look: Look, change: Change, tmp_path: Path, good: str, bad: str, said: str
) -> None:
    before = everything(look)
    assert good in GOOD
    with pytest.raises(CommandError) as caught:
        load(tmp_path, GOOD.replace(good, bad, 1))
    assert said in str(caught.value)
    assert caught.value.returncode == 2
    assert everything(look) == before


def test_a_published_contract_is_not_given_another_text(look: Look, change: Change, tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    before = everything(look)
    with pytest.raises(CommandError, match=r"contracts\.0: kpi\.revenue@3 is published with another text"):
        load(tmp_path, GOOD.replace("max_running: 3", "max_running: 9").replace("value: 3", "value: 5"))
    assert everything(look) == before, "the plan of the same file was not written either"
