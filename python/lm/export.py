"""Models for other programs, in the Llama layout of Hugging Face, and back; see `llama.py`.

python -m lm.export --ckpt runs/default --out exported      safetensors, config.json, tokenizer files
python -m lm.export --from-llama exported --out runs/back   a run folder, for all commands of lm
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lm.cli import Parser, clear_errors, load_torch
from lm.folders import find, read_state
from lm.outputs import OVERWRITE, check_not_read, output
from lm.runlog import lm_command, to_type


def make_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser("python -m lm.export", description="Write a model in Llama's layout, or read one.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", help="run folder (its newest checkpoint) or checkpoint folder to export")
    source.add_argument("--from-llama", metavar="DIR", help="folder in Llama's layout to make a run of")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    return parser


def read_by_export(ckpt: str) -> Iterator[Path]:
    """Yield what an export must leave alone: the run, and the tokenizer that made its token files."""
    folder = find(ckpt)
    run = folder.parent.parent
    yield from (folder, run, run / "tokenizer")
    data = read_state(folder).get("config", {}).get("data", {})
    if isinstance(data, dict) and isinstance(data.get("tokenizer"), str):
        yield Path(data["tokenizer"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser()
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        out = Path(args.out)
        inputs = list(read_by_export(args.ckpt)) if args.ckpt else [Path(args.from_llama)]
        check_not_read(out, inputs)
        load_torch()
        from lm import llama

        with output(out, inputs=inputs, overwrite=args.overwrite) as temporary:
            if args.ckpt:
                told, found = llama.export(args.ckpt, temporary)
            else:
                model = llama.import_back(Path(args.from_llama), temporary)
        if args.ckpt:
            names = ", ".join(name for name in llama.WRITTEN if (out / name).exists())
            print(f"{told}\nwrote     {out}: {names}\ncheck     {found}")
            code = f"from transformers import pipeline; write = pipeline('text-generation', {str(out)!r}); "
            code += "print(write('Once upon a time')[0]['generated_text'])"
            print(f"next      {to_type('python', '-c', code)}")
        else:
            print(f"model     {model}\nwrote     {out}")
            print(f"next      {lm_command('generate', '--ckpt', out)}")
            files = ("--train-bin", "train.bin", "--valid-bin", "valid.bin")
            print(f"or        {lm_command('train', '--resume', '--ckpt-path', out, *files)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
