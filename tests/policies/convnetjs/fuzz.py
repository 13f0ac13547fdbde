"""Mutated submissions: each must be refused with its line or read, in bounded time and memory.

    python tests/policies/convnetjs/fuzz.py 100000 1      # files, seed

Prints one JSON object: files read and refused, the processor time of the slowest [s], the process's peak memory [MB].
Anything but a ConvNetJSError ends it with a traceback, a file that takes more than MOST_SECONDS with SIGPROF.
"""

import json
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.read import read_convnetjs

MOST_SECONDS = 15  # of processor time
FILES = sorted((Path(__file__).parents[2] / "golden" / "submissions").glob("*.js"))
TOKEN = re.compile(r"[A-Za-z_$][\w$]*|[0-9.]+|\s+|[-+*/%=<>!&|?]+|.", re.DOTALL)
VOCABULARY = """
if ( ) { } [ ] ; , . : ? => = == === != < > + - * / % ++ -- += && || ?? ! ~ ** << ... ` ' " ${ // /* */ <!-- @ # \\
var let const function return for while do break continue switch case default try catch throw new typeof delete in of
class async await yield this null undefined true false NaN Infinity window document console.log( alert( Math.floor(
Math.random() Array( Array.from( Object.assign( JSON.parse( parseInt( .push( .map( .fill( .forEach( .concat( .length
lanesSide patchesAhead patchesBehind otherAgents num_inputs opt layer_defs brain brain.forward(state) learn state
brain.value_net.fromJSON( brain.temporal_window deepqlearn.Brain( {"layers":[ {"layers": "w": i x f 0 1 2 5 1e9 1e308
-1 0.5 0x10 1e-7 99999 Array(99999) for(;;) while(1) f=function(n){return f(n)} s+=s x=>x*2 [...x] {...opt} \u2028
"""
WORDS = VOCABULARY.split()


def mutated(rng: random.Random) -> str:
    """A submission with a few mutations of its tokens, lines and bytes, or of another's."""
    text = rng.choice(FILES).read_text("utf-8")
    for _ in range(rng.randint(1, 3)):
        text = rng.choice(MUTATIONS)(text, rng)
    return text


def change_tokens(text: str, rng: random.Random) -> str:
    """Tokens of the code replaced, inserted, removed, repeated."""
    end = text.find("fromJSON")
    tokens = TOKEN.findall(text[:end])
    for _ in range(rng.randint(1, 4)):
        at, word = rng.randrange(len(tokens) + 1), rng.choice(WORDS)
        tokens[at : at + rng.choice((0, 1, 1, 3))] = [word * rng.choice((1, 1, 1, 2, 300))]
    return "".join(tokens) + text[end:]


def change_lines(text: str, rng: random.Random) -> str:
    """Lines moved, repeated, removed."""
    lines = text.split("\n")
    a, b, c = (rng.randrange(len(lines) + 1) for _ in range(3))
    taken = lines[min(a, b) : max(a, b)][:8]
    lines[c : c + rng.choice((0, 2))] = taken * rng.choice((1, 1, 30))
    return "\n".join(lines)


def change_bytes(text: str, rng: random.Random) -> str:
    """Characters anywhere, the weights included."""
    at = rng.randrange(len(text) + 1)
    return (
        text[:at]
        + "".join(rng.choices("{}[]()\"';:,.=\\/*`$019eE-n \n\0\ud800é", k=rng.randint(0, 3)))
        + text[at + 1 :]
    )


def join_files(text: str, rng: random.Random) -> str:
    """The beginning of one and the end of another."""
    other = rng.choice(FILES).read_text("utf-8")
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other)) :]


def wrap(text: str, rng: random.Random) -> str:
    """The code inside other code."""
    around = "if (window) {@}", "(function () {@})();", "for (var q = 0; q < 99; q++) {@}", "try {@} catch (e) {}"
    more = "while (1) {@}", "/*@*/", "`@`", "function run() {@} run(); run();"
    before, after = rng.choice(around + more).split("@")
    return f"{before}\n{text}\n{after}"


MUTATIONS = (change_tokens, change_tokens, change_tokens, change_lines, change_bytes, join_files, wrap)


def run(count: int, seed: int) -> dict[str, float]:
    """Read so many mutated files."""
    rng, seen, slowest = random.Random(seed), Counter[str](), 0.0
    for _ in range(count):
        text = mutated(rng)
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        start = time.process_time()
        try:
            read_convnetjs(text, "x").policy()
            seen["read"] += 1
        except ConvNetJSError as error:
            assert re.match(r"line \d+: .", str(error)) and error.line <= text.count("\n") + text.count("\r") + 1, error
            seen["refused"] += 1
        slowest = max(slowest, time.process_time() - start)
    status = Path("/proc/self/status").read_text("ascii")  # unlike getrusage's, its peak is not the parent's
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
    return {**seen, "slowest_s": round(slowest, 3), "peak_mb": round(peak, 1)}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
