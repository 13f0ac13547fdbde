// What the tests ask the engine to do, in Node and in a browser's worker: each task takes and returns JSON values,
// arrays as base64 of their bytes.
const encode = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
  return btoa(text);
};
const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const VEHICLES = ["x", "y", "following_speed", "speed_factor", "lane"];
const PER_FRAME = [...VEHICLES, "scroll", "rng", "passed", "action"];

const decimal = (values) => [...values].map(Number);
const fields = (road, names) => names.flatMap((name) => {
  const value = road.state(name);
  return typeof value === "number" ? [value] : decimal(value);
});

export const TASKS = {
  /** Drive a recorded trace; per episode what every frame and every decision show. */
  replay(engine, { rules, otherAgents, sensor, programSeed, frames, resets, actions }) {
    const road = engine.road({ rules, otherAgents });
    let next = 0;
    road.start(programSeed);
    return resets.map((run) => {
      const before = road.state("rng");
      road.reset(run);
      const begun = [before, road.state("rng"), ...fields(road, VEHICLES)];
      const [shown, decided] = [[], []];
      for (let frame = 0; frame < frames; frame++) {
        let agent = road.drive(0, road.state("frame") + 1);
        while (agent !== engine.layout.nobody) {
          const reward = agent === 0 ? road.state("reward") : NaN;
          decided.push(frame, actions[next], reward, ...road.observe(...sensor, agent));
          agent = road.drive(actions[next++], road.state("frame") + 1);
        }
        shown.push(...fields(road, PER_FRAME));
      }
      return [begun, shown, decided].map((values) => encode(Float64Array.from(values)));
    });
  },

  async evaluate(engine, { policy, ...options }) {
    const started = performance.now();
    const progress = [];
    const drives = typeof policy === "number" ? policy : engine.policy(decode(policy));
    const result = await engine.evaluate(drives, { ...options, onProgress: (done) => progress.push(done) });
    return { ...result, progress, seconds: (performance.now() - started) / 1000 };
  },

  /** Cancel an evaluation after the first report of its progress. */
  async cancel(engine) {
    const controller = new AbortController();
    try {
      await engine.evaluate(0, { signal: controller.signal, onProgress: () => controller.abort() });
      return "went on";
    } catch (error) {
      return error.name;
    }
  },

  /** Train; `rest`: decisions made by another learner that goes on from what the first one saved. */
  async train(engine, { settings, decisions, rest = 0, preset = "mit-basic" }) {
    let learner = engine.learner({ ...engine.presets[preset], ...settings });
    const started = performance.now();
    await learner.train(decisions);
    if (rest) {
      const saved = learner.save();
      learner.release();
      learner = engine.learner({ ...saved.settings, seed: 99 });
      learner.restore(saved);
      learner.settings = saved.settings;
      await learner.train(decisions + rest);
    }
    const seconds = (performance.now() - started) / 1000;
    return { params: encode(learner.params), file: encode(learner.policyFile("trained")), seconds, ...learner.metrics() };
  },

  /** Train PQN: its first weights, what it did in its first round, and weights and metrics after so many rounds. */
  pqn(engine, { settings, rounds }) {
    const learner = engine.learner({ ...engine.presets["pqn-quick"], ...settings });
    const copy = (names) => Object.fromEntries(names.map((name) => [name, encode(learner.array(name))]));
    const begun = { ...copy(["params"]), layers: encode(engine.array("i8", learner.table, 8 * learner.rows().length)) };
    learner.play();
    const first = copy(Object.keys(engine.layout.pqn.rollout));
    learner.learn();
    for (let round = 1; round < rounds; round++) {
      learner.play();
      learner.learn();
    }
    const found = { begun, first, ...copy(["params", "actions"]), file: encode(learner.policyFile("pqn")), decisions: learner.decisions };
    return { ...found, ...learner.metrics() };
  },

  /** The values of every layer for some inputs, and how the network was assembled. */
  run(engine, { policy, inputs }) {
    const loaded = engine.policy(decode(policy));
    const { record } = loaded;
    const table = engine.array("i8", record.get("table"), 16 * record.get("operations")).slice();
    const weights = engine.array("f8", record.get("weights"), record.get("weights_size")).slice();
    const values = inputs.flatMap((input) => {
      loaded.run(new Float64Array(decode(input).buffer));
      return loaded.activity.flatMap((layer) => [...layer]);
    });
    return { table: encode(table), weights: encode(weights), values: encode(Float64Array.from(values)) };
  },

  /** Decisions of a policy that drives all agents of an open run, and the game after so many frames. */
  live(engine, { policy, rules, otherAgents, seed, frames }) {
    const [road, loaded] = [engine.road({ rules, otherAgents }), engine.policy(decode(policy))];
    loaded.attach(otherAgents + 1);
    road.resetOpen(seed);
    for (let frame = 100; frame <= frames; frame += 100) road.play((agent) => loaded.act(road, agent), frame);
    const saved = road.save();
    road.step(1);
    return { game: encode(saved), speed: road.speedMph, gap: road.actByGaps(), first: road.firstCell(3, 50, 10) };
  },

  /** In a run by a policy: the cells that the safety system checks, and observations with each vehicle hidden. */
  look(engine, { policy, rules, seed, frames, sensor }) {
    const [road, loaded] = [engine.road({ rules }), engine.policy(decode(policy))];
    road.resetOpen(seed);
    return frames.map((frame) => {
      road.play((agent) => loaded.act(road, agent), frame);
      const vehicles = [...road.state("y").keys()];
      const hidden = vehicles.map((vehicle) => encode(road.without(vehicle, () => road.observe(...sensor))));
      return { safety: road.checkSafety(), hidden, game: encode(road.save()), score: road.score };
    });
  },

  /** What a policy would put out, whether that changed anything, and each layer's sums by the weights of its units. */
  inspect(engine, { policy, seed }) {
    const loaded = engine.policy(decode(policy));
    const { rules, other_agents: otherAgents } = loaded.manifest;
    const road = engine.road({ rules, otherAgents });
    loaded.attach(otherAgents + 1);
    road.resetOpen(seed);
    const memory = () => ["history", "memory"].flatMap((name) => [...engine.array("f8", loaded.record.get(name), loaded[`${name}Size`])]);
    let [same, foreseen] = [true, []];
    road.play((agent) => {
      const before = memory();
      foreseen = loaded.isAsked(agent) ? loaded.outputs(road, agent) : [];
      same &&= memory().every((value, k) => value === before[k]);
      const action = loaded.act(road, agent);
      const [outputs] = loaded.activity.slice(-1);
      same &&= foreseen.every((value, k) => value === outputs[k]);
      return action;
    }, 400);
    const values = loaded.activity;
    const errors = loaded.manifest.layers.map((_, layer) => {
      const sums = [...values[layer + 1].keys()].map((unit) => {
        const { weights, source, bias } = loaded.weightsOf(layer, unit);
        return weights ? weights.reduce((sum, weight, k) => sum + weight * values[source][k], bias) : null;
      });
      return sums[0] === null ? null : Math.max(...sums.map((sum, unit) => Math.abs(sum - values[layer + 1][unit])));
    });
    return { same, asked: foreseen.length, errors };
  },

  activations(engine, { x }) {
    const values = new Float64Array(decode(x).buffer);
    const [at, out] = [engine.store("f8", values), engine.allocate(48 * values.length)];
    engine.calls.compute_activations(at, values.length, out);
    return encode(engine.array("f8", out, 6 * values.length));
  },

  normals(engine, { seed, count }) {
    const out = engine.allocate(8 * count);
    engine.calls.draw_normals(seed, count, out);
    return encode(engine.array("f8", out, count));
  },

  /** A policy file of the original game's weights, and its weights again where it has dense layers alone. */
  convnetjs(engine, { weights, given }) {
    const file = engine.policyFromConvNetJS(weights, given);
    const isDense = engine.policy(file).network.layers.every(({ kind }) => ["dense", "relu", "tanh", "sigmoid"].includes(kind));
    return { file: encode(file), again: isDense ? JSON.parse(engine.weightsForConvNetJS(file)) : null };
  },

  layout: (engine) => engine.layout,
  memory: (engine) => engine.memory.buffer.byteLength,
};
