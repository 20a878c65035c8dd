"""Manual pages in man(7), one per command."""

import re

FOOTER = """.SH SEE ALSO
{also}
.PP
The documentation is in
.I {docs}
"""


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text.startswith(".") else text


def page_name(path):
    return "-".join(path)


def summary(command):
    """One line without its verb's capital, for `man -k`."""
    text = re.sub(r"^Backplane is an? ", "", command.about).split(". ")[0].rstrip(".")
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def entry(option):
    names = ", ".join(rf"\fB{escape(name)}\fR" for name in option.names)
    if option.value:
        names += rf" \fI{escape(option.value)}\fR"
    about = option.about
    if option.default:
        about += f" (default: {option.default})"
    if option.required:
        about += ". Required." if not about.endswith(".") else " Required."
    if option.several:
        about += " May be repeated."
    return f".TP\n{names}\n{escape(about)}\n"


def argument(option):
    suffix = " ..." if option.several else ""
    return f".TP\n\\fI{escape(option.names[0])}\\fR{suffix}\n{escape(option.about)}\n"


def note(lines):
    if lines[0].startswith("Exit codes: "):
        text = " ".join(lines).removeprefix("Exit codes: ")
        rows = [re.match(r"\s*(\d+) (.*?)[.;]?$", part) for part in text.split(";")]
        return "EXIT STATUS", "".join(f".TP\n{row[1]}\n{escape(row[2])}\n" for row in rows)
    if any(line.startswith(" ") for line in lines):
        return "NOTES", ".nf\n" + "\n".join(escape(line) for line in lines) + "\n.fi\n"
    return "NOTES", "\n".join(escape(line) for line in lines) + "\n"


def write(command, version, docs="/usr/share/doc/backplane"):
    name = page_name(command.path)
    synopsis = [rf"\fB{escape(' '.join(command.path))}\fR"]
    words = command.usage.split(" ")[len(command.path):]
    synopsis += [rf"\fI{escape(word)}\fR" if word.isupper() else escape(word) for word in words]
    text = [f'.TH {name.upper()} 1 "" "backplane {version}" "User Commands"\n'
            f".SH NAME\n{escape(name)} \\- {escape(summary(command))}\n"
            f".SH SYNOPSIS\n{' '.join(synopsis)}\n"
            f".SH DESCRIPTION\n{escape(command.about)}{'' if command.about.endswith('.') else '.'}\n"]
    if command.commands:
        text.append(".SH COMMANDS\n")
        for each in command.commands:
            text.append(f".TP\n.BR {escape(page_name(each.path))} (1)\n{escape(each.about)}\n")
    if command.arguments:
        text.append(".SH ARGUMENTS\n" + "".join(argument(each) for each in command.arguments))
    text.append(".SH OPTIONS\n")
    for heading, options in command.groups:
        if heading != "Options":
            text.append(f".SS {escape(heading)}\n")
        text.append("".join(entry(option) for option in options))
    sections = {}
    for lines in command.notes:
        heading, body = note(lines)
        sections[heading] = f"{sections[heading]}.PP\n{body}" if heading in sections else body
    text += [f".SH {heading}\n{body}" for heading, body in sections.items()]
    if command.examples:
        text.append(".SH EXAMPLES\n.EX\n" + "\n".join(escape(line) for line in command.examples) + "\n.EE\n")
    others = [command.path[:-1]] if len(command.path) > 1 else []
    others += [each.path for each in command.commands]
    also = ",\n".join(f".BR {escape(page_name(path))} (1)" for path in others)
    text.append(FOOTER.format(also=also, docs=docs))
    return "".join(text)
