"""Print what each token of a text says for or against a class.

python scripts/explain_classifier.py "a warm , funny film"
python scripts/explain_classifier.py "A warm, funny film." --model FOLDER_OR_HUB_ID --target POSITIVE
"""

from __future__ import annotations

import argparse

import lxtlike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--model", help="a folder or hub id of a sequence classifier; without it the bundled one")
    parser.add_argument("--target", help="the label to explain; without it the predicted one")
    parser.add_argument("--composite", default="default", help="attnlrp, cp-lrp, input-x-gradient or a YAML file")
    options = parser.parse_args()

    task = "sequence-classification"
    try:
        explainer = lxtlike.Explainer.from_pretrained(options.model, task=task, composite=options.composite)
        attribution = explainer.explain(options.text, options.target)
    except lxtlike.InputError as error:
        parser.error(str(error))

    print(f"{attribution.target.token}: logit {attribution.target.value:.4f}")
    for token, relevance in zip(attribution.tokens, attribution.relevance, strict=True):
        print(f"{relevance:+10.4f}  {token.token!r}")


if __name__ == "__main__":
    main()
