"""im4d warmup, and what every command shares."""


def test_warmup_reports_kernel_modules(im4d):
    assert "seconds" in im4d("warmup", "--json").json


def test_unknown_command_gets_a_suggestion(im4d):
    assert "did you mean warmup?" in im4d("warmpu", code=2).stderr
