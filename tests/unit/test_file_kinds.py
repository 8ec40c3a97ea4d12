"""A file's purpose is told from its path; what a test may need is never called unneeded."""

from __future__ import annotations

import pytest

from tasks.plan.file_kinds import kind_of

KINDS = {
    "test": """
        tests/test_x.py test_x.py pkg/x_test.py tests/conftest.py conftest.py tests/data/words.txt
        test/x.js src/a.test.ts src/a.spec.jsx a.spec.mjs __tests__/a.js pkg/a_test.go
        spec/a_spec.rb
        src/FooTest.java src/FooTests.cs tests.py pkg/tests/x.pyi lib/specs/a.json tests/notes.md
    """,
    "source": """
        src/x.py x.py more_itertools/more.py pkg/__init__.py a.go src/a.ts lib/a.rb src/main.rs
        setup.py contest.py latest.py src/attest.py docs.py scripts/run.sh a.sql pkg/testing.py
    """,
    "unneeded": """
        README.md README.rst README CHANGELOG CHANGELOG.md CHANGES.rst docs/api.rst docs/conf.py
        doc/x.html LICENSE LICENSE.txt AUTHORS CITATION.cff .github/workflows/ci.yml .gitignore
        .pre-commit-config.yaml .gitlab-ci.yml pkg/more.pyi py.typed.md news/12.feature
        changelog.d/12.fixed newsfragments/1.txt notes.txt logo.png .readthedocs.yaml
        tests/README.md
    """,
    "other": """
        pyproject.toml setup.cfg tox.ini requirements.txt requirements/testing.txt
        requirements-dev.txt constraints.txt Makefile package.json package-lock.json go.sum
        src/data.json CMakeLists.txt Dockerfile pkg/py.typed config.yaml docs
    """,
}


@pytest.mark.parametrize(
    ("path", "kind"), [(path, kind) for kind, paths in KINDS.items() for path in paths.split()]
)
def test_what_a_file_is_for(path, kind):
    assert kind_of(path) == kind
