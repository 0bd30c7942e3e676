"""The verdict once more, from a bundle's own files: hashes, known answers, the comparison, and Lava if asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import A_BUNDLE, CHANGED, check_bundle, load_deployment, load_readout, load_vectors
from export.compile import Compiled
from export.storage import load_graph, read_json
from export.verify import INEXACT, verify
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array


def verify_bundle(folder: Path, *, against: str | None = None, timeout_s: float = 600.0) -> dict[str, Any]:
    """Repeat the verdict of a bundle and return it as a JSON-ready dictionary.

    Hashes and known answers must agree with the manifest; the folded graph and the chip are compared again with the
    trained network's spikes on the known-answer clips; ``against="lava"`` runs those clips in Lava and compares
    every spike of every layer.

    Raises:
        InputError: the folder is not a bundle, or a file in it is damaged.
        MissingDependencyError: Lava was asked for and is not installed.
        VerificationError: Lava failed, or did not finish in time.
    """
    manifest = read_json(folder / "manifest.json", A_BUNDLE)
    findings = check_bundle(folder)
    result: dict[str, Any] = {"verdict": manifest.get("verdict"), "bundle": str(folder), "verify": None}
    if not any(finding.code in CHANGED for finding in findings):
        result["verify"], found = _compared(folder)
        findings += found
        if against == "lava":
            result["lava"], found = _judged(folder, timeout_s)
            findings += found
    if manifest.get("verdict") != "verified":
        marked = "the export itself was marked FAILED"
        findings.append(Finding("E424", "error", "manifest.json", marked, fix="see report.html for the reasons"))
    ok = not any(finding.severity == "error" for finding in findings)
    findings_json = [finding.to_dict() for finding in findings]
    return {"ok": ok, "exit_code": 0 if ok else 5, "findings": findings_json} | result


def _compared(folder: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Compare graphs and chip with the trained network's spikes; report what folding or capturing changed."""
    clips = load_vectors(folder, "inputs.npz", "clips")["clips"]
    captured, folded = load_graph(folder / "captured.npz"), load_graph(folder / "graph.npz")
    model = load_vectors(folder, "model.npz", *(node.name for node in captured.neurons()))
    report = read_json(folder / "report.json", A_BUNDLE)
    lossy = frozenset(str(name) for name in report.get("lossy", []))
    compiled = Compiled(
        captured, folded, load_deployment(folder), (), (), lossy, fine_tuned=report.get("fine_tuned") is True
    )
    try:
        verification = verify(compiled, [(clips, model, None)], readout=load_readout(folder))
    except ValueError as error:
        found = f"graphs and vectors do not fit each other: {error}"
        raise InputError(Finding("E425", "error", str(folder), found, A_BUNDLE)) from error
    # How much quantisation may cost was judged on all clips of the export; on these few only exactness is.
    exact = [finding for finding in verification.findings if finding.code in INEXACT]
    return verification.to_dict(), exact


def _judged(folder: Path, timeout_s: float) -> tuple[dict[str, Any], list[Finding]]:
    """Run the known-answer clips in Lava and compare every spike."""
    clips = load_vectors(folder, "inputs.npz", "clips")["clips"]
    deployment = load_deployment(folder)
    run, seconds = deployment.judge(folder / "target" / "model.net", clips, timeout_s=timeout_s)
    ours = deployment.simulate(clips)
    compared = compare_spikes(ours.spikes, run.spikes) | {"seconds_per_step": seconds}
    if not compared["mismatched_spikes"]:
        return compared, []
    first, wrong, total = compared["first_mismatch"], compared["mismatched_spikes"], compared["compared_spikes"]
    found = f"{wrong} of {total} spikes differ from Lava's, first at step {first['step']}, neuron {first['neuron']}"
    return compared, [Finding("E423", "error", first["layer"], found, "0", str(wrong), "please report it")]


def compare_spikes(ours: dict[str, Array], judge: dict[str, Array]) -> dict[str, Any]:
    """Compare spikes [T, N, ...] of two runs in every layer that the judge ran; name the first that differs."""
    layers = []
    first: dict[str, Any] | None = None
    for name, theirs in judge.items():
        spikes = ours[name]
        wrong = np.argwhere(spikes != theirs)
        layers.append(
            {
                "name": name,
                "compared": int(spikes.size),
                "mismatched": len(wrong),
                "spikes": int(spikes.sum(dtype=np.int64)),
            }
        )
        if len(wrong) and first is None:
            step, clip, *neuron = (int(i) for i in wrong[0])
            first = {"layer": name, "step": step, "clip": clip, "neuron": neuron}
    steps, clips = next(iter(ours.values())).shape[:2]
    return {
        "clips": int(clips),
        "steps": int(steps),
        "compared_spikes": sum(layer["compared"] for layer in layers),
        "mismatched_spikes": sum(layer["mismatched"] for layer in layers),
        "first_mismatch": first,
        "layers": layers,
    }
