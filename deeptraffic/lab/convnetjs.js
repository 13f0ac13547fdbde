// The original game's weights, ConvNetJS's JSON, as policy files and back; layers.js has the reader.
import { networkFromConvNetJS } from "./layers.js";
import { readPolicyFile, writePolicyFile } from "./policy.js";

const ACTIVATIONS = ["relu", "sigmoid", "tanh"];

/**
 * The policy file of a network in ConvNetJS's JSON, as `deeptraffic import` makes it.
 *
 * given: { lanes_side, patches_ahead, patches_behind, temporal_window, other_agents, epsilon, random_actions, label }
 */
export function policyFromConvNetJS({ layout }, weights, given, created = new Date()) {
  const { lanes_side, patches_ahead, patches_behind, temporal_window, other_agents, epsilon, random_actions, label } = given;
  const cells = (2 * lanes_side + 1) * (patches_ahead + patches_behind);
  const network = networkFromConvNetJS(weights, cells + temporal_window * (cells + layout.actions.length));
  network.check_size();
  network.check_tensors();
  const manifest = {
    format_version: layout.file.format, rules: 2018, other_agents,
    observation: { kind: "vector", lanes_side, patches_ahead, patches_behind, temporal_window },
    layers: network.layers.map(recordOf), action: { rule: "argmax", seed: 0 },
    ...(epsilon > 0 ? { epsilon, ...(random_actions.length ? { random_actions } : {}) } : {}),
    label: label.slice(0, 100), author: "", training: {}, created: `${created.toISOString().slice(0, 19)}Z`,
  };
  const tensors = Object.entries(network.tensors).map(([name, { shape, values }]) => [name, shape, values]);
  return writePolicyFile(manifest, tensors, layout.file.key);
}

/** A layer as it stands in a manifest. */
function recordOf(layer) {
  const fields = Object.entries(layer.constructor.fields).filter(([name, { default: usual }]) => JSON.stringify(layer[name]) !== JSON.stringify(usual));
  return { type: layer.kind, ...Object.fromEntries(fields.map(([name]) => [name, layer[name]])) };
}

/** The weights of a policy file of dense layers as ConvNetJS's JSON; an error where it has others. */
export function weightsForConvNetJS({ layout }, content) {
  const { manifest, tensors } = readPolicyFile(content, layout.file.key);
  const records = [];
  const add = (layer_type, out_depth, more = {}) => records.push({ out_depth, out_sx: 1, out_sy: 1, layer_type, ...more });
  const vol = (values) => ({ sx: 1, sy: 1, depth: values.length, w: values });
  manifest.layers.forEach(({ type, outputs, form, inputs, bias }, k) => {
    const isDense = type === "dense" && bias !== false;
    if (inputs?.length || !(isDense || (ACTIVATIONS.includes(type) && (type !== "tanh" || form === "convnetjs")))) {
      throw new Error(`the original game has no layer like layer ${k + 1}, ${type}; use: deeptraffic export FILE -o FILE.js`);
    }
    if (!isDense) return add(type, records.at(-1).out_depth);
    const { shape: [, width], values } = tensors[`${k + 1}.weight`];
    if (k === 0) add("input", width);
    const filters = Array.from({ length: outputs }, (_, row) => vol(values.subarray(row * width, (row + 1) * width)));
    add("fc", outputs, { num_inputs: width, l1_decay_mul: 0, l2_decay_mul: 1, filters, biases: vol(tensors[`${k + 1}.bias`].values) });
  });
  add("regression", layout.actions.length, { num_inputs: layout.actions.length });
  return JSON.stringify({ layers: records });
}
