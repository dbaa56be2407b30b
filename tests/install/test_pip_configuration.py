from __future__ import annotations

from envcheck.install import pip_configuration
from envcheck.testing import machine

USER = "/home/ada/.config/pip/pip.conf"


def test_the_users_file_wins_over_the_machines_and_variables_over_both() -> None:
    system = machine(
        files={
            "/etc/pip.conf": "[global]\nindex-url = https://machine.example/simple\ntimeout = 60\nretries = 1\n",
            USER: "[global]\nindex_url = https://user.example/simple\nretries = 2\n",
        },
        variables={"PIP_RETRIES": "3"},
        answers={"home": "/home/ada"},
    )
    found = pip_configuration.read(system)
    assert (found.index_url, found.timeout, found.retries) == ("https://user.example/simple", "60", "3")
    assert found.sources["index-url"] == USER


def test_the_section_of_install_wins_over_the_global_one() -> None:
    text = "[install]\nfind-links = /srv/wheels\n   https://more.example/\n[global]\nfind-links = /elsewhere\n"
    found = pip_configuration.read(machine(files={USER: text}, answers={"home": "/home/ada"}))
    assert found.find_links == ("/srv/wheels", "https://more.example/")
    assert pip_configuration.local_folders(found) == ["/srv/wheels"]


def test_configuration_can_be_switched_off_as_pip_does_it() -> None:
    system = machine(files={USER: "[global]\nno-index = true\n"}, variables={"PIP_CONFIG_FILE": "/dev/null"})
    assert pip_configuration.read(system) == pip_configuration.PipConfiguration()


def test_a_damaged_file_is_passed_over() -> None:
    system = machine(files={USER: "index-url = nowhere\n[[["}, answers={"home": "/home/ada"})
    assert pip_configuration.read(system).index_url == ""


def test_uv_looks_where_pip_looks() -> None:
    variables = {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://one.example https://two.example",
        "PIP_FIND_LINKS": "/srv/wheels",
        "PIP_CERT": "/etc/ssl/company.pem",
        "PIP_PROXY": "http://proxy.example:3128",
        "PIP_TRUSTED_HOST": "one.example",
        "PIP_CONSTRAINT": "/etc/constraints.txt",
        "PIP_NO_INDEX": "0",
    }
    system = machine(variables=variables)
    assert pip_configuration.uv_variables(pip_configuration.read(system), system) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://one.example https://two.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/srv/wheels",
        "SSL_CERT_FILE": "/etc/ssl/company.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "UV_INSECURE_HOST": "one.example",
        "UV_CONSTRAINT": "/etc/constraints.txt",
    }


def test_what_is_set_for_uv_itself_wins() -> None:
    system = machine(variables={"PIP_INDEX_URL": "https://pip.example", "UV_INDEX_URL": "https://uv.example"})
    assert pip_configuration.uv_variables(pip_configuration.read(system), system) == {}


def test_passwords_are_masked() -> None:
    assert pip_configuration.masked("https://ada:geheim@mirror.example/x") == "https://ada:****@mirror.example/x"
