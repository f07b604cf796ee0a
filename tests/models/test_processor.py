"""What a processor is called."""

from models.engine.processor import processor_in


def test_processors_of_one_name_are_told_apart_by_their_model_and_their_vector_units() -> None:
    listing = "model name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: {}\nflags\t\t: fpu {}\n\nmodel name\t: another\n"
    assert processor_in(listing.format(17, "avx2 avx512f")) == "AMD EPYC, family 25 model 17, AVX-512"
    assert processor_in(listing.format(1, "avx avx2")) == "AMD EPYC, family 25 model 1, AVX2"
    assert processor_in("model name\t: some core\nBogoMIPS\t: 50.00\n") == "some core"
    assert processor_in("processor\t: 0\nFeatures\t: asimd\n") is None
