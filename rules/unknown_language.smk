"""A target in no known language."""


# It matches here alone, and gets one line that says so.
rule unknown_language:
    input:
        refuse_language,
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file="(?:dataset|threads|preferences|adapter|translated|evaluation|report|published|export).*",
