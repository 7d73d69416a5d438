"""Targets that there are not, in no known language or no export: they match here alone, and one line says so."""


rule unknown_language:
    input:
        refuse_language,
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file="(?:dataset|threads|preferences|adapter|translated|evaluation|report|published|export).*",


rule unknown_export:
    input:
        refuse_export,
    output:
        "{results}/{lang}/{variant}export{unknown}",
    wildcard_constraints:
        # What is in the folders among them is theirs.
        unknown=rf"(?!/(?:{'|'.join(EXPORTED_PATHS)})(?:/|$)).*",
