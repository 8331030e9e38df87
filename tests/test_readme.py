import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == promised


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"`((?:dnar2mae|tests|docs)/[\w/.]+)`|\]\((docs/[\w/.]+)\)", text):
        assert (README.parent / (path[0] or path[1])).exists()
