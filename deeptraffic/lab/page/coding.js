// The code box: the form's settings as the original page's code; each follows the other.
import { $ } from "./dom.js";
import { changeCode, codeOf, hasWeights, readCode, withoutWeights } from "./original.js";
import { algoOf } from "./settings.js";

const PAUSE_MS = 350; // in typing, after which the code is run
const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

const randomOf = ({ epsilon, random_actions }) => epsilon > 0 ? { epsilon, ...(random_actions.length ? { random_actions } : {}) } : {};

export class CodeBox {
  /** `onWeights`: called with what a text with weights was read as, and its name. */
  constructor(form, onWeights) {
    Object.assign(this, { form, onWeights, box: $("code"), asked: 0, events: new EventTarget() }); // "change": of the text
    this.settings = form.values();
    this.random = {}; // actions at random in evaluations, which the code asks for and the form does not show
    this.box.value = codeOf(this.settings);
    form.events.addEventListener("change", () => this.followForm());
    this.box.addEventListener("input", () => {
      const [id, text] = [++this.asked, this.box.value];
      this.events.dispatchEvent(new Event("change"));
      if (hasWeights(text)) this.reading = this.open(text, "pasted code").catch(() => {}); // it is said in the status
      else this.reading = pause().then(() => id === this.asked && this.followCode());
    });
    this.box.addEventListener("keydown", (event) => { // Tab indents; Escape, then Tab, leaves the box
      if (event.key === "Escape") this.leaves = true;
      else if (event.key === "Tab" && !event.shiftKey && !this.leaves) {
        event.preventDefault();
        this.box.setRangeText("    ", this.box.selectionStart, this.box.selectionEnd, "end");
        this.box.dispatchEvent(new Event("input"));
      } else this.leaves = false;
    });
    this.box.addEventListener("focus", () => { this.leaves = false; });
  }

  get text() {
    return this.box.value;
  }

  /** Wait until the code has what the form says. */
  async isWritten() {
    await this.checking;
  }

  /** Wait until the form has what was typed; whether it could be read. */
  async isRead() {
    await this.reading;
    return this.box.getAttribute("aria-invalid") !== "true";
  }

  /** Show code that says these settings, or where they are not the original game's learner's, code for later. */
  show(text, settings) {
    this.asked += 1;
    this.box.value = text;
    if (algoOf(settings) !== "deepqlearn") return;
    this.settings = settings;
    this.followCode();
  }

  say(text, isWrong = false) {
    $("code-status").textContent = text;
    $("code-status").classList.toggle("wrong", isWrong);
    this.box.setAttribute("aria-invalid", isWrong);
  }

  /** Put the form's settings into the code: into its own lines, or where they are not enough into new code. */
  followForm() {
    const wanted = this.form.values();
    if (!wanted || algoOf(wanted) !== "deepqlearn") return;
    const [id, before] = [++this.asked, this.settings];
    [this.settings, this.reading] = [wanted, null];
    this.say("");
    this.box.value = before ? changeCode(this.text, before, wanted) : this.text;
    this.checking = pause().then(() => id === this.asked && this.check(id, wanted));
  }

  /** See whether the code says these settings; where it does not, write it anew. */
  async check(id, wanted) {
    const found = await readCode(this.text).catch(() => ({}));
    if (id !== this.asked) return;
    const isSame = found.learning && Object.entries(found.learning).every(([name, value]) => JSON.stringify(wanted[name]) === JSON.stringify(value));
    if (!isSame) this.box.value = codeOf(wanted);
    this.random = isSame ? randomOf(found.driving) : {};
    this.events.dispatchEvent(new Event("change"));
  }

  /** Put the code's settings into the form. */
  async followCode() {
    const id = ++this.asked;
    try {
      const found = await readCode(this.text);
      if (id === this.asked) this.take(found);
    } catch (error) {
      if (id === this.asked) this.say(error.message, true);
    }
  }

  take({ driving, learning, cannotLearn }) {
    this.random = randomOf(driving);
    if (!learning) return this.say(`This cannot be trained here: ${cannotLearn}`, true);
    const base = this.form.algo === "deepqlearn" ? this.form.base : this.form.presets["mit-basic"];
    this.settings = { ...base, ...learning, seed: Number(this.form.input("seed").value) };
    this.form.show(this.settings);
    this.say(this.form.form.checkValidity() ? "" : "These settings do not fit together; see the form.", !this.form.form.checkValidity());
  }

  /** Take the settings of a file, or of a text that was pasted, and hand on its network. */
  async open(text, name) {
    const id = ++this.asked;
    this.say("Reading…");
    try {
      const found = await readCode(text);
      if (id !== this.asked) return;
      this.box.value = withoutWeights(text);
      this.events.dispatchEvent(new Event("change"));
      this.take(found);
      if (found.weights) this.onWeights(found, name);
      else this.say("The code has no weights; run the training.");
    } catch (error) {
      if (id === this.asked) this.say(`${name}: ${error.message}`, true);
      throw error;
    }
  }
}
