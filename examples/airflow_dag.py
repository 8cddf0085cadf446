"""A DAG for Airflow 3. Put this file and `batch_job.py` into your DAGs folder."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, task
from batch_job import run_campaign


@dag(
    schedule="0 10 * * MON-FRI",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/Chicago"),
    catchup=False,  # do not send yesterday's reminders today
    max_active_runs=1,
)
def appointment_reminders() -> None:
    @task(retries=2, retry_delay=timedelta(minutes=10))
    def send_texts() -> dict[str, Any]:
        return run_campaign("/srv/texts/campaigns/appointments.toml")

    send_texts()


appointment_reminders()
