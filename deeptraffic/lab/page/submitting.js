// Submitting a network under the account of the competition's site that serves this page.
import { ACCOUNT } from "./account.js";
import { $ } from "./dom.js";
import { chosen, files, names } from "./driving.js";
import { showTrail } from "./film.js";

const json = { Accept: "application/json" };

/** The answer as JSON; where the server refused, an error with its sentence. */
async function answerOf(request) {
  const answer = await request.catch(() => { throw new Error("the server cannot be reached; try again"); });
  const record = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(record.error?.message ?? `the server answered with status ${answer.status}`);
  return record;
}

const link = (address, text) => Object.assign(document.createElement("a"), { href: address, textContent: text });
const say = (...parts) => $("submit-status").replaceChildren(...parts);

/** Show who submits where. */
function show(account) {
  $("account").textContent = account.name ?? "";
  if (account.trail) showTrail(account.trail);
  const open = account.competitions.filter((each) => each.open);
  const chosen = $("competition").value;
  $("competition").replaceChildren(...open.map(({ title, submit }) => new Option(title, submit)));
  if (open.some(({ submit }) => submit === chosen)) $("competition").value = chosen;
  $("submit-form").hidden = open.length === 0;
  if (account.name === null) say(link(account.sign_in, "Sign in"), " to submit your network.");
  else if (account.competitions.length === 0) say("Join a competition, by its invitation, to submit your network.");
  else if (open.length === 0) say("Submissions are closed now.");
}

/** The network to submit: yours that drives, otherwise the trained one; null where there is none. */
function network() {
  const isYours = files[chosen] && $("yours").querySelector(`[value="${CSS.escape(chosen)}"]`);
  const name = isYours ? chosen : "trained";
  return files[name] ? { name: name === "trained" ? "network.safetensors" : names[name], file: files[name] } : null;
}

async function connect() {
  for (const id of ["home", "submit"]) $(id).hidden = false;
  const account = () => answerOf(fetch(ACCOUNT, { headers: json, cache: "no-store" }));
  $("submit-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const found = network();
    if (!found) return say("Train a network first, or open one, and let it drive.");
    $("submit-button").disabled = true;
    say("Sending…");
    try {
      const { form_token: token } = await account();
      const form = new FormData();
      form.append("form_token", token);
      form.append("file", new Blob([found.file]), found.name);
      const made = await answerOf(fetch($("competition").value, { method: "POST", headers: json, body: form }));
      say("Submitted. ", link(made.page, "Watch its evaluation"), ".");
    } catch (error) {
      say(`Not accepted: ${error.message}`);
    }
    $("submit-button").disabled = false;
  });
  try {
    show(await account());
  } catch (error) {
    say(`Submitting is not possible: ${error.message}`);
  }
}

if (ACCOUNT !== null) connect();
