"""Patterns of code that stands in a sentence without backticks: statements, calls, queries, commands, formulas.

Each pattern comes with a quick test that the text must pass, as in protected_spans. Lengths are bounded: the time is
linear in the text.
"""

_STRING = r"(?:\"[^\"`\n]{0,60}\"|'[^'`\n]{0,60}')"
_VALUE = rf"(?:{_STRING}|-?[0-9][\w.]*+|[A-Za-z_][\w.]*+(?:\([^()\n]{{0,60}}\))?)"
# Arguments of a call: no plural ending, "parent(s)".
_PLURAL = r"(?!(?:e?s|en|in|nen|a|o|as|os|e|r|d|er)\))"
_NAMED = rf"(?:,[ ]?{_VALUE}|[ ]?=[ ]?{_VALUE}|[ ]?[-+*/<>%][ ]?{_VALUE})"
_ARGUMENTS = rf"\({_PLURAL}(?:[\w.*&-]+{_NAMED}*|{_STRING}(?:,[ ]?{_VALUE})*)\)"
# Of a name in capital letters more: "Role(Admin)".
_SURE_ARGUMENTS = rf"\({_PLURAL}(?:[\w.*&-]+{_NAMED}+|[0-9][\w.]*|{_STRING}(?:,[ ]?{_VALUE})*)\)"
_NAME = r"(?a:{}(?<![\w.$].)\w*+(?>(?:\.\w++)*))"
_CALL = (
    rf"(?:{_NAME.format('[a-z_]')}{_ARGUMENTS}|{_NAME.format('[A-Z]')}{_SURE_ARGUMENTS})"
    rf"(?:\.\w+(?:\(\)|{_ARGUMENTS}))*(?![\w(])"
)
_CONSTANT = rf"(?:{_STRING}|-?[0-9][\w.]*+(?<!\.)|True|False|None|null|true|false|\[[^\[\]\n]{{0,60}}\])"
# A word that equals a number may be a sum in prose: "the window = 8 eggs".
_ASSIGNMENT = (
    rf"(?a:(?:{_NAME.format('[a-z_]')}[ ]?=[ ]?(?!-?[0-9])|[a-z](?<![\w.$].)(?:\w*[_0-9]\w*)?[ ]?=[ ]?))"
    rf"{_CONSTANT}(?!\w)"
)

_TYPE = r"(?:(?:public|private|protected|static|final|void|int|float|double|char|bool|string|String|function|def)[ ])"
_BODY = r"\{[^{}\n]{0,300}\}"
_DEFINITION = rf"{_TYPE}+\w+\([^()\n]{{0,100}}\)[ ]?(?:{_BODY})?"
_BRANCH = rf"(?<!\w)(?:if|while|for|switch)[ ]?\([^()\n]{{1,100}}\)[ ]?{_BODY}(?:[ ]?else[ ]?{_BODY})?"
_STATEMENTS = r"\{[^{}\n]{0,300};[^{}\n]{0,300}\}"
_LOOP = (
    r"for (?<!\w.{4})\w+ in [\w.]+(?:\([^()\n]{0,60}\)|\[[^\[\]\n]{0,60}\]):?"
    rf"(?:[ ]\w+{_ARGUMENTS})?"
)

_CONDITION = (
    r"[\w.]+[ ]?(?:=|<>|!=|<=|>=|<|>|[ ]LIKE[ ]|[ ]IN[ ])[ ]?"
    rf"(?:{_STRING}|\([^()\n]{{0,80}}\)|[\w.]+)"
)
_CLAUSE = (
    rf"(?:[ ](?:WHERE|AND|OR|ON|SET|HAVING)[ ]{_CONDITION}"
    r"|[ ](?:ORDER|GROUP)[ ]BY[ ][\w.]+(?:,[ ]?[\w.]+)*(?:[ ](?:DESC|ASC))?|[ ]LIMIT[ ][0-9]+"
    r"|[ ](?:(?:INNER|LEFT|RIGHT)[ ])?JOIN[ ][\w.]+|[ ]VALUES[ ]?\([^()\n]{0,200}\)|[ ]?\([^()\n]{0,200}\))"
)
_COLUMN = r"[\w.()*]+"
_QUERY = (
    rf"(?:SELECT[ ](?:DISTINCT[ ])?{_COLUMN}(?:,[ ]?{_COLUMN})*[ ]FROM|INSERT[ ]INTO|DELETE[ ]FROM|UPDATE"
    rf"|(?:CREATE|DROP|ALTER)[ ]TABLE)[ ][\w.]+(?>{_CLAUSE}*);?"
)

# An option, a path, an assignment, a file, or a name with digits.
_WORD = (
    r"(?:[ ](?:-{1,2}[A-Za-z][\w-]*(?:=\S+)?|[\w.-]*[/=][\w./=:~-]*\w|[\w-]+\.[a-z]{1,4}(?!\w)"
    r"|[\w-]*[0-9_][\w.:-]*\w))"
)
# What follows a command: the end of its clause, or a word that goes on with the sentence.
_END = r"(?=[.,;:!?)\"'”](?!\w)|\s*$|\s(?:after|and|before|first|from|if|in|on|or|then|to|with)\s)"
_INSTALLERS = r"(?:pip3?|npm|yarn|apt|apt-get|brew|conda|cargo|gem|docker|choco)"
_GIT = (
    r"git[ ](?:add|bisect|branch|checkout|cherry-pick|clone|commit|diff|fetch|init|log|merge|pull|push|rebase|reset"
    r"|revert|stash|status|tag)(?!\w)"
)
_COMMAND = (
    rf"(?<![\w/.-])(?:sudo[ ])?(?:{_INSTALLERS}[ ](?:install|uninstall|add|remove|pull|run)"
    rf"(?:[ ]-{{1,2}}[A-Za-z][\w-]*)*[ ](?:(?=[\w-]*[0-9@./:_-])[\w@][\w@./:-]*\w|\w+{_END})"
    rf"|{_GIT}|(?:docker|kubectl|systemctl)[ ](?:ps|build|exec|get|apply|start|stop|restart|status)(?!\w))"
    rf"(?:{_WORD}+|{_END})"
)

# Variables of a letter, products of two, numbers, functions of one argument, sums in brackets; a power behind each.
_OPERAND = (
    r"(?:[A-Za-z](?:_?[0-9])?(?![\w'’])|[a-z]{2}(?=\^|[ ]?[+*/])|[0-9](?:[\w.]*\w)?"
    r"|[A-Za-z]+\([A-Za-z0-9]\)|\([0-9A-Za-z+*/^ -]{1,20}\))"
    r"(?:\^[\w{}()+-]+)?[!²³]?"
)
_OPERATION = rf"(?:[ ]?(?:[-+*/=>≤≥≠]|<(?=[ =0-9])|==|!=|<=|>=|[-+*/]=|&&|\|\|)[ ]?{_OPERAND})"
_FORMULA = rf"(?<![\w.)'’])(?=[^=^<>≤≥≠*+\n]{{0,30}}[=^<>≤≥≠*+]){_OPERAND}(?>{_OPERATION}+)"
_POWER = r"(?<![\w.)'’])[0-9A-Za-z]{1,3}\^[\w{}()+-]+"

_ERROR = r"(?a:[A-Z](?<![\w.].)(?=[A-Za-z]*[a-z][A-Z])[A-Za-z]+(?:Error|Exception)(?!\w))"

# Patterns, by the quick test that the text must pass.
PATTERNS = (
    (r"[{;]", _DEFINITION, _BRANCH, _STATEMENTS),
    (r"for \w+ in [\w.]+[(\[]", _LOOP),
    (r"[A-Z] (?:FROM|INTO|TABLE) |[\w*)] FROM |UPDATE \w+ SET ", _QUERY),
    (r"(?:apt-get|pip3?|npm|yarn|apt|brew|conda|cargo|gem|choco|git|docker|systemctl|kubectl) ", _COMMAND),
    (r"\(", _CALL),
    ("=", _ASSIGNMENT),
    (r"[=^<>≤≥≠*+]", _FORMULA, _POWER),
    (r"(?:Error|Exception)(?!\w)", _ERROR),
)
