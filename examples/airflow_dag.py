"""A DAG for Airflow 3. Put this file and `batch_job.py` into your DAGs folder."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException
from batch_job import StepFailedError, run_campaign


@dag(
    schedule="0 10 * * MON-FRI",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/Chicago"),
    catchup=False,  # do not send yesterday's reminders today
    max_active_runs=1,
)
def appointment_reminders() -> None:
    @task(retries=2, retry_delay=timedelta(minutes=10))
    def send_texts() -> dict[str, Any]:
        try:
            return run_campaign("/srv/texts/appointments.toml")
        except StepFailedError as failed:
            if failed.again_later:
                raise
            # The task fails at once: another try would end the same way.
            raise AirflowFailException(str(failed)) from failed

    send_texts()


appointment_reminders()
