from envcheck.checks.machine_checks import kernel_log_shows_no_machine_check
from envcheck.facts import KernelLog
from envcheck.probes.kernel_log import messages
from envcheck.report import CheckOutcome, Severity
from envcheck.testing import run_check


def log(*lines: str) -> KernelLog:
    return KernelLog(readable=True, messages=messages("\n".join(lines), "dmesg"))


def test_memory_that_gave_back_wrong_numbers_is_an_error():
    line = "[5.0] EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0)"
    outcome, findings = run_check(kernel_log_shows_no_machine_check, kernel_log=log(line))
    assert outcome is CheckOutcome.FAIL
    assert (findings[0].cause, findings[0].severity) == ("hardware-computes-wrongly", Severity.ERROR)
    assert "DIMM#0" in findings[0].evidence[0].text


def test_machine_checks_that_may_have_been_corrected_are_a_note():
    line = "[5.0] mce: [Hardware Error]: Machine check events logged"
    _, findings = run_check(kernel_log_shows_no_machine_check, kernel_log=log(line))
    assert findings[0].severity is Severity.NOTE


def test_a_corrected_memory_error_and_a_hot_processor_are_no_error_of_the_hardware():
    lines = (
        "[5.0] EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0",
        "[6.0] mce: CPU0: Core temperature above threshold, cpu clock throttled (total events = 1)",
    )
    assert run_check(kernel_log_shows_no_machine_check, kernel_log=log(*lines)) == (CheckOutcome.PASS, [])
