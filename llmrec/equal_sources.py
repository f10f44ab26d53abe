"""Changes of source that make no record stale, for they move no figure: each with its reason and what shows it.

A file counts by its meaning (`llmrec.sources`), so every change of code makes all records stale that rest on it, even
one that adds an error message. What is listed here counts as the source that it took the place of. An entry holds for
one exact content: with the next change of the file it means nothing and must go, or be written anew with new proof.

What may stand here: code that was moved; parameters whose defaults leave every line at work that was; checks that
refuse what failed before; counts beside a figure; arithmetic in another order, where runs done again (`llmrec verify`)
agree, and those that no two kinds of CPU repeat exactly are moved by less than another CPU moves them.
benchmarks/speed/BERT.md has these figures for the entries below.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Equal:
    """A file that counts as another."""

    file: str  # in the package
    now: str  # digest of its name and meaning
    before: str | None  # that which it counts as; None: it is not counted at all, for its code came from counted files
    why: str


ENTRIES: tuple[Equal, ...] = (
    Equal(
        "encode.py",
        "daa39e5b0d4638a602603911cad89aa663e624142e3696abc1f9d7358535c945",
        "7c6e369a979f1b0a2bd8a46de59d6d34122186dd5465ec41aa8dd32c4c090066",
        "finding encoders and reading texts went to files of their own; texts are read without padding (llmrec.packed)",
    ),
    Equal(
        "encoders.py",
        "8789723833884e26ca5909bb9cf6ba494a4e4a6db0dd2ac4c098efecf3f906d6",
        None,
        "moved from encode.py and bert/classifier.py, with checks that refuse what failed later",
    ),
    Equal(
        "reading.py",
        "f26d6f403b50d7d2230b2ecc54edbf47fa17f89cb294dd96bda9ec009ae7047b",
        None,
        "moved from encode.py; without padding no number of a vector moves by more than 2e-7",
    ),
    Equal(
        "hub.py",
        "0b8785cc398b55934d085ce05ca29360a16e643176005b6ecb533de2f25ce988",
        None,
        "moved from encode.py and lm/loading.py",
    ),
    Equal(
        "lm/loading.py",
        "95af378eadf372debf020623daadb135b66076cebe384f3c0dc83abd28f8313a",
        "bfd7c70aefcb082278cacee8f51c441dcd3575a2fe97f003e5e0475a5a433270",
        "finding a model on the hub went to llmrec.hub",
    ),
    Equal(
        "batches.py",
        "59e5a2be43a81c70074647d57922eccfa1cb941859fc46300be693244007f3fe",
        None,
        "moved from bert/pairs.py",
    ),
    Equal(
        "context.py",
        "3fc51f06733b1868e5baf5f380c189ffb7ce35736a86a588ae6a8e6c69f4c7dd",
        "dc5838f3f35919289a6c87d43e7b340d242bb1950deeddd12440a66d328420ea",
        "counts the texts that an encoder cuts",
    ),
    Equal(
        "bert/classifier.py",
        "0c1af35017527ead96728638dd8eb5b315c794f5da4dd3b3c8cc5ccb6af125f0",
        "7236df008257af2662c83a2b112d349e851aac7795e3d28f2a3c22e9895adc41",
        "what concerns any encoder went to llmrec.encoders",
    ),
    Equal(
        "bert/domain.py",
        "2926de076215bb64461921a1f9296030825d892dde477c040f6d9564d50dc7e6",
        "844c604c6bf18fee3ce32ac5964c876ed6bad0fcb0fd64a684c044fbb88fb696",
        "a type is imported from llmrec.encoders",
    ),
    Equal(
        "bert/embedder.py",
        "1f9e0c121199fe001b0a4f8a3d4f8ef21d379813284228131e892fdf90c289cc",
        "bd62b9360d13dae24f3bee1ccf9acb681029363b0dc4bf6f1643d530a5b364d1",
        "imports from llmrec.encoders and llmrec.batches",
    ),
    Equal(
        "bert/onnx.py",
        "3fe64bd7f0d6defc25579bca0b3f2adea044f3ee72a7b9e1355578eeb9446b91",
        "8b3da453f1851d26376ac6fb28533db7f9023d5d9d3da8b534608591adb78d7b",
        "imports from llmrec.encoders and llmrec.batches; counts the texts that are cut",
    ),
    Equal(
        "packed.py",
        "cb25cf27ca1c9649b9314c55c515a6b41b6667d27ea66c93bc66e22ea923bab6",
        "d7be6bb415d77afb31548a22dd2499e94987e47e38b82f05a99b4a1ed605b835",
        "the last layer without keys and values where one token reads: scores move by 1e-7 at most",
    ),
    Equal(
        "bert/packed.py",
        "0df6cd341087bac704a7a8253359118fab4ed2d816fd410101fc52f0f6dc91a4",
        "272da3c331c8005046a3b49f837d536c1d1ebe95517bc2ec74dd3faf6921da07",
        "what a history brings to the first layer is made once: scores move by 1e-7 at most",
    ),
    Equal(
        "bert/pairs.py",
        "4fff3e79b9260eb1f5c8aae30d89a80f0282013839cbf5fade21d259fdf7570b",
        "f0eb366761f57ddf3a422aeb31fb13b8389cd2244bfa7bbe1328dbb9111a4f39",
        "a function went to llmrec.batches",
    ),
    Equal(
        "methods/bert/bert_biencoder.py",
        "7de99768d8b4f571dc6f44695bf797c0518c8a8caaf1a921f76334c48c9049cd",
        "635e47233f6ce4d5f0ceabc92efbab38664deba46d3387039dd58d0ea7c6d548",
        "a history may be attended to; by default it is read as it was, by the same lines",
    ),
    Equal(
        "stored.py",
        "6a10a42fb148ead9a32018274348fc2534f5c24db663cd96bea1a1dfaa2d7de3",
        "3a57ee7e2e37ca927987b872df446bc4be7e2b621daca537bb80d85cf84eb258",
        "reads tables of ranks that share their users and items; what is written and measured is as it was",
    ),
    Equal(
        "../baselines/bert4rec.py",
        "57cc961d0555663094fb50a7ae61eca975d1c5073553d76ccc64c5064af8494b",
        "bfde74684926ed83f83fef9389c87a1650d9796aa87a80de290e0f3a6f0bb2b4",
        "windows may be cut at random items; by default none is, and every draw is as it was",
    ),
    Equal(
        "bert/masked.py",
        "8ec950b40216ad6512886dfca53341377a5825aa3d512f3428800f727bfc888a",
        "06cd20de0a6ce03bbd66d183586a20551a9faff51ee6c20299fcce9eccc6ccbc",
        "windows may be cut at random items; by default none is, and every draw is as it was",
    ),
    Equal(
        "methods/bert/bert_masked.py",
        "acbf15967eb36ddef2b036fcff863348a265c3ada42191282866a0754c6ce9bf",
        "2b81dcf5ed014a5927fc8839625dbc66118369242e2e5b153b9db08140dfc73b",
        "windows may be cut at random items; by default none is, and every draw is as it was",
    ),
    Equal(
        "sequence/crops.py",
        "ba3c784c3d4ec902206b441556c596dceb293ed781efdd1914e85ca50cab4141",
        None,
        "new, and at work only where windows are cut",
    ),
    Equal(
        "methods/gpt/gpt_semantic_id.py",
        "3e1d9a73a19af6a2a8a1fed4f8157ca8454cec11c841341ab15f9202b965ce6d",
        "183de3d45ef77a8692d21058ab71194d296dbc48accd12cd505f45c61dc16cb5",
        "its steps went to gpt/descent.py, users and times may be read: by default the same weights to the last bit",
    ),
    Equal(
        "gpt/extras.py",
        "2d9a37738a230e8e3e7335aa742d332fc2e51deee11c49ca7a4484910adc86f9",
        None,
        "new, and at work only where users' tokens or gaps of time are asked for",
    ),
    Equal(
        "gpt/model.py",
        "7abf730a35536f46d890bfd923b596fd4898716055f1a001b0bdd7702d3ed4ca",
        "69ea66c9eca77e0870d0f0f96d23356d606400f2e31852234c935fd3a668c007",
        "takes what gpt/extras.py gives; by default that is nothing",
    ),
    Equal(
        "gpt/reader.py",
        "1027c9506940173062bb100237b22886a2be16dc84aab77f6579ace8fd84abce",
        "c4fc6d04091bccf80620eb0d391e2a52ec25dc9d4c3897773c68f8dea55fa1e6",
        "takes what gpt/extras.py gives; by default that is nothing",
    ),
    Equal(
        "gpt/beam.py",
        "c733e6252d9d04ab987609650f1a82e5ee4bcbfeb3e2c4d63cf7f11958532d60",
        "3fa1b458df5b2409c744ffcc809bb68d59ea8e4dee451bb313bf8a77c52d72ce",
        "takes what gpt/extras.py gives; by default that is nothing",
    ),
    Equal(
        "types.py",
        "a83fa11bcda11071cd423152ec42f6e65b08f7e9379e4a583de80ab1f7276eae",
        "161cc014685e92a0265f1e5846be44d451af0ea6e67e944cde10f2f2841220ca",
        "histories carry their times, which nothing but gpt/extras.py reads",
    ),
    Equal(
        "methods/gpt/gpt_title.py",
        "4dec29be16b0f1acc20a217cde2eec6fe3840a1d51a4b96248abd9888982ab29",
        "4e6ffb9b232281f8bba0249158e850ed4817c2f3c40b04974616a37a7ef8c0d0",
        "bfloat16 as a parameter, and one count more; weights after both stages agree to the last bit",
    ),
    Equal(
        "lm/free.py",
        "d792a45d20443fead57ae026782c14d6c93e59fbe75408a2e9867041e2829a07",
        "db6bf9531799fd37746f0034bb75cc908e0f16bd6af82bbc5423de5998eb35e4",
        "counts titles of a user's own history; no answer depends on it",
    ),
    Equal(
        "lm/finetune.py",
        "431278c696d7f33ed2cfecdf1e119118b64d12a149be797edb90ad0db40f2baa",
        "3c67e06c53b2696ed296dfa7561de7029efa5283654490a2e3c95b99c29ebacc",
        "its steps went to gpt/descent.py: the same weights to the last bit, the loss in the log within 1e-8",
    ),
    Equal(
        "gpt/descent.py",
        "6f2a20524422908de14da5395eeea180d5dea68708b43ea72deef3c73f72ce75",
        None,
        "what methods and lm/finetune.py had; what is new is at work only in parts, in bfloat16, or after a kill",
    ),
    Equal(
        "bert/tune.py",
        "6e73cab4f819192833cba12655f318f1ef379b2ff8f984e9fc1baa1e3336ce39",
        "060eeb06f3c8400aa0990a8ac42ec7b4c493b3d5d68e3fb7d681cb0d83050e5b",
        "parallel.py, unchanged, lies in another folder",
    ),
    Equal(
        "bert/scorer.py",
        "b4364c2900da8f40853080af519fe0e1f299db60fe5d67a4759da65504039b7b",
        "ff0758317a1863b9be9162c54469baf4ac4fb6cd9ee906bd83419f8b6ef6c27e",
        "parallel.py, unchanged, lies in another folder",
    ),
)

_BEFORE = {entry.now: entry.before for entry in ENTRIES}


def counts_as(digest: str) -> str | None:
    """The digest that a file's digest counts as: its own, if nothing else is listed; None if it is not counted."""
    return _BEFORE.get(digest, digest)
