"""Print what each token of a prompt says for or against the next one.

python scripts/explain_next_token.py "the box holds a red ball . the ball is"
python scripts/explain_next_token.py "The capital of France is" --model FOLDER_OR_HUB_ID --target " Paris"
"""

from __future__ import annotations

import argparse

import lxtlike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--model", help="a folder or hub id of a causal language model; without it the bundled one")
    parser.add_argument("--target", help="the next token to explain; without it the model's first choice")
    parser.add_argument("--composite", default="default", help="attnlrp, cp-lrp, input-x-gradient or a YAML file")
    options = parser.parse_args()

    try:
        explainer = lxtlike.Explainer.from_pretrained(options.model, task="causal-lm", composite=options.composite)
        attribution = explainer.explain(options.text, options.target)
    except lxtlike.InputError as error:
        parser.error(str(error))

    print(f"{attribution.target.token!r}: logit {attribution.target.value:.4f}")
    for token, relevance in zip(attribution.tokens, attribution.relevance, strict=True):
        print(f"{relevance:+10.4f}  {token.token!r}")


if __name__ == "__main__":
    main()
