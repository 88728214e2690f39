"""Names as nobody should choose them, which every place that shows a name must survive."""

HOSTILE = {
    "escape": "a\x1b[2J\x1b[31mb",
    "bell": "a\x07\x9b31mb\x7f",
    "nul": "a\x00b",
    "mathematics": "$x$",
    "broken_mathematics": r"$\frac{$ $",
    "dollar": "a$b",
    "variable": "$HOME ${HOME} %s {0}",
    "glob": "a[1]*?",
    "markup": "[bold]a[/bold] [/]",
    "script": "</span><script>alert(1)</script><img src=x onerror='a()'>\"&amp;",
    "surrogate": "a\ud800b",
    "long": "x" * 10_000,
    "long_words": "x y " * 2_500,
    "override": "a\u202eb\u2066c",
    "newline": "a\nb\r\nc\u2028d\te",
    "hidden": "_a",
    "quotes": "'a' \"b\" `c`",
}
NAMES = ("base", "best of N", "späte Läufe", "数独", "x=1, y=2")
