"""The page of a gateway with a policy, in Chromium."""

import pathlib
import subprocess
import tempfile
import unittest

from harness import PROGRAM
from web_harness import ORIGIN, BrowserTest, testid

SECRETS = {"anna": "a-secret", "root": "r-secret"}
ROLES = ('[roles.a]\npublish = ["a.>"]\nsubscribe = ["a.>"]\n'
         '[roles.all]\nadmin = true\nsubscribe = [">", "$SYS.>"]\n')


class SignInTest(BrowserTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        users = ""
        for (name, secret), role in zip(SECRETS.items(), ("a", "all")):
            made = subprocess.run([PROGRAM, "policy", "hash", "--stdin"], input=secret + "\n", text=True, check=True,
                                  capture_output=True).stdout.strip()
            users += f'[users.{name}]\ntoken = "{made}"\nroles = ["{role}"]\n'
        policy = pathlib.Path(folder.name, "policy.toml")
        policy.write_text(users + ROLES, encoding="utf-8")
        policy.chmod(0o600)
        self.start_all("--policy", str(policy))

    def sign_in(self, page, token):
        page.click("sign-in-open")
        page.fill("sign-in-token", token)
        page.click("sign-in-go")

    def subscribe(self, page, pattern):
        page.fill("sub-pattern", pattern)
        page.click("sub-go")

    def test_a_user_signs_in_for_the_tab(self):
        page = self.page(ORIGIN)
        page.wait_text("sign-in-open", "^Sign in$")
        self.subscribe(page, "a.x")
        page.wait("() => /may not subscribe/.test(document.querySelector('#sub-problem').innerText)")
        self.sign_in(page, f"anna:{SECRETS['anna']}")
        page.wait_text("sign-in-open", "^anna$")
        # The subscription is in the address, and is made again by the user.
        page.wait("() => /live|active/i.test(document.querySelector('#view-state').innerText)")
        self.publisher.send("b.x", "hidden")
        self.publisher.send("a.x", "for anna")
        page.wait_text("events", "for anna")
        self.subscribe(page, ">")
        page.wait("() => document.querySelectorAll('#tabs [role=tab]').length === 2")
        page.fill("pub-topic", "a.x")
        page.fill("pub-text", "by anna")
        page.click("pub-go")
        page.wait_text("pub-answer", "admitted")
        page.wait_text("events", "by anna")
        page.fill("pub-topic", "b.x")
        page.click("pub-go")
        page.wait_text("pub-answer", "not_permitted")
        self.assertNotIn("hidden", page.text("events"))
        self.assertNotIn("secret", page.evaluate("() => location.href + document.cookie + JSON.stringify({...localStorage})"))
        other = self.page(ORIGIN)  # another tab
        other.wait_text("sign-in-open", "^Sign in$")
        page.click("sign-in-open")
        page.click("sign-out")
        page.wait_text("sign-in-open", "^Sign in$")

    def test_an_admin_sees_the_figures(self):
        page = self.page(ORIGIN)
        page.wait_text("sign-in-open", "^Sign in$")
        self.assertEqual(page.text("status-clients"), "–")
        self.sign_in(page, f"root:{SECRETS['root']}")
        page.wait_text("sign-in-open", "^root$")
        page.wait_text("status-clients", "[1-9]")

    def test_a_wrong_token_is_shown(self):
        page = self.page(ORIGIN)
        page.expected_problems.append("401")
        page.wait_text("sign-in-open", "^Sign in$")
        self.sign_in(page, "anna:wrong")
        page.wait("(selector) => document.querySelector(selector)?.hasAttribute('data-problem')", testid("sign-in-open"))
        page.click("sign-in-open")
        page.wait_text("sign-in-problem", "no user has this token|too many")


if __name__ == "__main__":
    unittest.main()
