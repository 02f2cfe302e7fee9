"""A run that a person stops by Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

SHAPES = Path(__file__).parents[1] / "conf" / "seg_shapes.yaml"


def test_fit__says_after_ctrl_c_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resvision", "fit", "--config", str(SHAPES), "--trainer.max_epochs", "100000"]
    last = tmp_path / "runs" / "seg_shapes" / "1" / "checkpoints" / "last.ckpt"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        deadline = time.monotonic() + 120
        while not last.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        text, _ = run.communicate(timeout=60)
    assert run.returncode == 130, text
    assert "Traceback" not in text
    assert "to go on after the last whole epoch: resvision fit --ckpt_path runs/seg_shapes/1" in text
