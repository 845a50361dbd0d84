"""Outside a Prefect run nothing is shown, and nothing comes of it."""

from tasks import instrument


def test_outside_a_run_whatever_is_to_be_shown_does_nothing():
    instrument.show_table("thor-job-survey-07-tasks", [{"task": "a"}], "Tasks")
    instrument.show_text("thor-job-survey-07-runs", "Text", "Runs")
    instrument.show_pictures("thor-job-survey-07-results", "Orbits", [("a", b"png")])
    instrument.tell_event("thor.task.succeeded", subject="thor.job.survey-07.task.a")

    assert not instrument.is_in_run()
