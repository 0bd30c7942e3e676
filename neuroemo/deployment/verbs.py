"""The verbs around deployment: targets, check, export, verify, diff, doctor. Heavy imports happen here, late."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, NeuroEmoError
from neuroemo.console import Console

if TYPE_CHECKING:
    from neuroemo.deployment.model import ModelOptions
    from neuroemo.deployment.run import ExportSettings


def targets(args: Namespace, console: Console) -> int:
    """List what can be deployed to, or checked for, with every limit and its source."""
    from hw_targets.registry import describe_targets

    listed = describe_targets()
    lines = []
    for target in listed:
        lines.append(f"{target['name']:<12}{target['kind']:<8}{target['description']}")
        for limit in target["limits"]:
            source = f"{limit['source']}{' (secondary source)' if limit.get('secondary') else ''}"
            lines.append(f"{'':<12}{limit['name']:<32}{limit['value']:>10} {limit['unit']}; {source}")
    console.show(listed, "\n".join(lines))
    return 0


def check(args: Namespace, console: Console) -> int:
    """Say everything that stands between a model and a target, and write nothing."""
    from neuroemo.deployment.model import load_model_argument
    from neuroemo.deployment.run import check_network

    def run() -> int:
        result = check_network(load_model_argument(args.model, _model_options(args)), args.target, _settings(args))
        lines = _layer_lines(result["layers"]) if result["layers"] else []
        console.show(result, "\n".join([*lines, *_finding_lines(result["findings"]), _check_verdict(result, args)]))
        return int(result["exit_code"])

    return _with_report(console, "check", args.target, run)


def _check_verdict(result: dict[str, Any], args: Namespace) -> str:
    errors = sum(finding["severity"] == "error" for finding in result["findings"])
    if not result["ok"]:
        why = "unsupported" if result["exit_code"] == 3 else "does not fit"
        count = f"{errors} error{'s' if errors > 1 else ''}"
        return f"{count}: {args.target} cannot hold this network ({why}, exit {result['exit_code']})"
    said = "".join(f" {name} {_as_typed(value)}" for name, value in _model_options(args).given().items())
    follow = f"\nnext: neuroemo export {args.model}{said} --target {args.target}" if result["layers"] else ""
    return f"{args.target} can hold this network{follow}"


def _as_typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))


def export(args: Namespace, console: Console) -> int:
    """Export a model to a verified bundle."""
    from neuroemo.deployment.model import load_model_argument
    from neuroemo.deployment.run import export_network

    def run() -> int:
        model = load_model_argument(args.model, _model_options(args))
        out = args.output or Path("exports") / f"{model.name}-{args.target}"
        with console.progress("verify") as progress:
            result = export_network(
                model,
                None if args.dry_run else out,
                _settings(args),
                arguments=_arguments(args),
                progress=progress,
                log=console.say,
            )
        result |= {"dry_run": args.dry_run, "output": str(out)}
        console.show(result, _export_text(result, out))
        return int(result["exit_code"])

    return _with_report(console, "export", args.target, run)


def _with_report(console: Console, stage: str, target: str, run: Any) -> int:
    """Run a verb; a refusal is printed as the same object as a result, with no layers and nothing verified."""
    try:
        return int(run())
    except NeuroEmoError as error:
        from export.describe import SCHEMA, tool

        told = {"schema": SCHEMA, "tool": tool(), "stage": stage, "target": target, "layers": [], "verify": None}
        return console.fail(error.findings, error.exit_code, told)


def _arguments(args: Namespace) -> dict[str, Any]:
    """Return what the export was told, for the manifest; paths by their last name: it says nothing of a machine."""
    said = {key: value for key, value in vars(args).items() if key not in _UNSAID and value not in (None, False, [])}
    return {key: value.name if isinstance(value, Path) else value for key, value in sorted(said.items())} | {
        "model": Path(args.model).name
    }


_UNSAID = {"run", "verb", "json", "quiet", "verbose", "output", "force", "dry_run"}


def _model_options(args: Namespace) -> ModelOptions:
    from neuroemo.deployment.model import ModelOptions

    return ModelOptions(
        args.weights, args.input_shape, args.steps, args.dt, args.first_frame, args.spike_comparison, args.voting
    )


def _settings(args: Namespace) -> ExportSettings:
    from export.verify import Tolerance
    from neuroemo.deployment.run import ExportSettings

    common = {"target": args.target, "input_encoding": args.input_encoding, "weight_bits": args.weight_bits}
    if args.verb == "check":
        return ExportSettings(**common, allow=tuple(args.allow))
    return ExportSettings(
        **common,
        allow=tuple(args.allow),
        data=args.data,
        split=args.split,
        limit=args.limit,
        calibrate=args.calibrate,
        tolerance=Tolerance(args.min_agreement, args.min_labels, args.max_value_difference),
        force=args.force,
    )


def _layer_lines(layers: list[dict[str, Any]]) -> list[str]:
    heads = f"{'layer':<22}{'shape':>14}{'neurons':>9}{'weights':>9}{'cores':>6}"
    measured = any(layer["verify"] for layer in layers)
    lines = [heads + (f"{'rate':>8}{'chip':>8}{'agree':>9}" if measured else "")]
    for layer in layers:
        found = layer["verify"]
        shape = "x".join(map(str, layer["output_shape"]))
        cores = "host" if layer["where"] == "host" else layer["cores"]
        seen = f"{found['rate_float']:>8.2%}{found['rate_chip']:>8.2%}{found['agreement']:>9.3%}" if found else ""
        lines.append(f"{layer['name']:<22}{shape:>14}{layer['neurons']:>9}{layer['weights']:>9}{cores:>6}{seen}")
    return lines


def _finding_lines(findings: list[dict[str, Any]]) -> list[str]:
    return [f"neuroemo: {Finding(**finding)}" for finding in findings]


def _export_text(result: dict[str, Any], out: Path) -> str:
    lines = _layer_lines(result["layers"]) + _finding_lines(result["findings"])
    check = result["verify"]
    verdict = "verified" if result["ok"] else "FAILED"
    accuracy = ""
    if "accuracy" in check:
        shares = check["accuracy"]
        accuracy = f", accuracy {shares['float']:.1%} as trained and {shares['chip']:.1%} on the chip"
    if "values" in check:
        agree = f"values differ by {check['values']['difference_mean']:.4f} on average"
        lines += _value_lines(check["values"])
    else:
        agree = f"{check['label_agreement']:.1%} of labels agree"
    lines.append(
        f"{verdict} on {result['proved_on']}: {agree}, mean rate error {check['rate_error_mean']:.4f}{accuracy}"
    )
    place = result["placement"]
    if place and "chips" in place:
        chips = f"{place['chips']} chip{'s' if place['chips'] > 1 else ''} of {place['cores_per_chip']}"
        held = f"{place['neurons']:,} neurons, {place['weight_bytes']:,} bytes of weights"
        lines.append(f"{place['cores']} cores ({chips}), {held}")
    if result["dry_run"]:
        lines.append(f"nothing written (--dry-run); it would be {out}/")
    else:
        lines.append(f"look at {out / 'report.html'}\nnext: neuroemo verify {out} --against lava")
    return "\n".join(lines)


def _value_lines(values: dict[str, Any]) -> list[str]:
    """Return RMSE, PCC and CCC of every output, as trained, on the chip, and of the guess that knows nothing."""
    if values["scores"] is None:
        return []
    titles = {"float": "as trained", "chip": "on the chip", "constant": "always the training mean"}
    lines = [f"{values['scored']:>6} {'frames':<33}{'RMSE':>9}{'PCC':>9}{'CCC':>9}"]
    for told in values["scores"]:
        for world in (world for world in titles if world in told):
            scores = (told[world][name] for name in ("rmse", "pcc", "ccc"))
            cells = "".join(f"{'-' if score is None else f'{score:.4f}':>9}" for score in scores)
            lines.append(f"{told['output'] + ', ' + titles[world]:<40}{cells}")
    return lines


def verify(args: Namespace, console: Console) -> int:
    """Repeat the verdict from a bundle alone."""
    from export.reverify import verify_bundle

    result = verify_bundle(args.bundle, against=args.against, timeout_s=args.timeout)
    lines = _finding_lines(result["findings"])
    if "lava" in result:
        lava = result["lava"]
        lines.append(
            f"Lava: {lava['mismatched_spikes']} of {lava['compared_spikes']} spikes of {lava['clips']} clips differ"
        )
    if result["ok"]:
        lines.append(f"{args.bundle}: every hash and every known answer agrees")
    console.show(result, "\n".join(lines))
    return int(result["exit_code"])


def diff(args: Namespace, console: Console) -> int:
    """Say what changed between two bundles."""
    from export.difference import compare_bundles, difference_text

    result = compare_bundles(args.first, args.second)
    console.show(result, difference_text(result))
    return int(result["exit_code"])


def doctor(args: Namespace, console: Console) -> int:
    """Say what this machine can do."""
    from neuroemo.doctor import diagnose, doctor_text

    result = diagnose(deep=args.deep)
    console.show(result, doctor_text(result))
    return int(result["exit_code"])
