"""A run that a person stops by Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

SHAPES = Path(__file__).parents[1] / "conf" / "seg_shapes.yaml"
# A shell lets what it starts in the background ignore Ctrl-C, and children inherit that.
LISTEN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from resvision.cli import main; raise SystemExit(main())"
)


def test_fit__says_after_ctrl_c_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTEN, "fit", "--config", str(SHAPES), "--trainer.max_epochs", "100000"]
    last = tmp_path / "runs" / "seg_shapes" / "1" / "checkpoints" / "last.ckpt"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            deadline = time.monotonic() + 240
            while not last.exists() and run.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            run.send_signal(signal.SIGINT)
            text, _ = run.communicate(timeout=120)
        finally:
            run.kill()
    assert run.returncode == 130, text
    assert "Traceback" not in text
    assert "saving after this step; Ctrl-C once more stops at once" in text
    assert "to go on: resvision fit --run_dir runs/seg_shapes/1 --resume auto" in text
