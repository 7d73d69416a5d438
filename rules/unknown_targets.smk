"""Targets that there are not, in no known language or no export: they match here alone, and one line says so."""


rule unknown_language:
    input:
        lambda wildcards: checked(find, wildcards.unknown, LANGUAGES),
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file="(?:dataset|threads|preferences|adapter|translated|evaluation|report|published|export).*",


rule unknown_export:
    input:
        exports.refuse,
    output:
        "{results}/{lang}/{variant}export{unknown}",
    wildcard_constraints:
        # What is in the folders among them is theirs.
        unknown=rf"(?!/(?:{PATHS})(?:/|$)).*",
