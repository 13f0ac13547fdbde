// Made from deeptraffic/policies by `python -m deeptraffic.lab.build`; change it there.

const len = (values) => (Array.isArray(values) ? values : Object.keys(values)).length;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const prod = (values) => values.reduce((total, value) => total * value, 1);
const zip = (...lists) => lists[0].map((_, k) => lists.map((list) => list[k]));
const enumerate = (values, start = 0) => values.map((value, k) => [k + start, value]);
const range = (start, stop) => (stop === undefined ? range(0, start)
  : Array.from({ length: stop - start }, (_, k) => start + k));
const text = (value) => (Array.isArray(value) ? `(${value.map(text).join(", ")})` : String(value));
const same = (a, b) => a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length
  && a.every((value, k) => same(value, b[k])));
const distinct = (values) => values.filter((value, k) => values.findIndex((other) => same(value, other)) === k);
const contains = (all, value) => (Array.isArray(all) ? all.some((each) => same(each, value))
  : Object.hasOwn(all, value));
const get = (record, key, otherwise) => (Object.hasOwn(record, key) ? record[key] : otherwise);
const isDict = (value) => value !== null && typeof value === "object" && value.constructor === Object;

/** An array with axes: shape, strides [elements] and values. */
export class Tensor {
  constructor(values, shape, strides = shape.map((_, k) => prod(shape.slice(k + 1)))) {
    Object.assign(this, { values, shape, strides });
  }
  reshape(...shape) {
    return new Tensor(this.values, shape);
  }
  get T() {
    return new Tensor(this.values, this.shape.slice().reverse(), this.strides.slice().reverse());
  }
}
const transpose = ({ values, shape, strides }, axes) =>
  new Tensor(values, axes.map((axis) => shape[axis]), axes.map((axis) => strides[axis]));
const ravel = (value) => {
  if (!(value instanceof Tensor)) return [value].flat(Infinity);
  const walk = (axis, at) => (axis === value.shape.length ? value.values[at]
    : Array.from({ length: value.shape[axis] }, (_, k) => walk(axis + 1, at + k * value.strides[axis])));
  return [walk(0, 0)].flat(Infinity);
};
const zeros = (shape) => new Tensor(new Float64Array(prod([shape].flat())), [shape].flat());
const array = (values) => {
  const whole = Float64Array.from(values.flatMap((each) => (each instanceof Tensor ? [...each.values] : each)));
  return new Tensor(whole, [whole.length]);
};
const allFinite = (tensor) => tensor.values.every(Number.isFinite);

/** What is wrong in a line of a file. */
class LineError extends Error {
  constructor(line, reason) {
    super(`line ${line}: ${reason}`);
  }
}

const check = (name, value, schema) => {
  const inside = (x) => x >= schema.minimum && x <= schema.maximum;
  const fits = schema.enum ? schema.enum.includes(value)
    : schema.type === "array" ? Array.isArray(value) && value.length >= schema.minItems
      && value.length <= schema.maxItems && value.every((each) => check(name, each, schema.items) === each)
    : schema.type === "boolean" ? typeof value === "boolean"
    : schema.type === "integer" ? Number.isInteger(value) && inside(value) : typeof value === "number" && inside(value);
  if (!fits) throw new Error(`${name} must be ${JSON.stringify(schema)}, got ${JSON.stringify(value)}`);
  return value;
};
const fill = (self, record) => {
  for (const [name, field] of Object.entries(self.constructor.fields)) {
    const value = record[name] ?? field.default;
    if (value === undefined) throw new Error(`${self.kind}: ${name} is missing`);
    self[name] = check(`${self.kind}.${name}`, value, field.schema);
  }
};

function size(shape) {
  return prod(shape);
}

function expect_axes(layer, shape, axes) {
  let names, wanted;
  names = ({[1]: "a vector (n,)", [2]: "a set (K, D)", [3]: "an image (H, W, C)"});
  if ((!contains(axes, len(shape)))) {
    wanted = axes.map((n) => names[n]).join(" or ");
    throw new Error(`${text(layer.kind)} takes ${text(wanted)}, not shape ${text(shape)}; put a reshape or flatten before it`);
  }
}

function windows(layer, shape) {
  let columns, rows;
  [rows, columns] = zip(shape.slice(0, 2), layer.kernel, layer.stride, layer.padding).map(([n, k, s, p]) => (Math.floor(((n + (2 * p)) - k) / s) + 1));
  if (((rows < 1) || (columns < 1))) {
    throw new Error(`${text(layer.kind)}: a window of ${text(layer.kernel)} does not fit into ${text(shape.slice(0, 2))} cells`);
  }
  if ((zip(layer.padding, layer.kernel).map(([p, k]) => ((2 * p) > k)).some(Boolean) && (same(layer.kind, "maxpool")))) {
    throw new Error(`maxpool: padding ${text(layer.padding)} is more than half of the window ${text(layer.kernel)}`);
  }
  return [rows, columns];
}

function expect_mask(layer, shapes) {
  expect_axes(layer, shapes[0], [2]);
  if (((same(len(shapes), 2)) && (!same(size(shapes[1]), shapes[0][0])))) {
    throw new Error(`${text(layer.kind)}: ${text(shapes[0][0])} tokens need a mask of as many entries, not shape ${text(shapes[1])}`);
  }
}

function is_number(value) {
  return ((typeof value === "number" || typeof value === "number") && !((typeof value === "boolean")));
}

function whole(record, key, otherwise) {
  let value;
  value = get(record, key, otherwise);
  if ((!(is_number(value)) || !((0 <= value && value <= 1048576)) || (!same(value, Math.trunc(value))))) {
    throw new Error(`${text(key)} must be an integer in [0, ${text(1048576)}], got ${text(value)}`);
  }
  return Math.trunc(value);
}

function real(record, key) {
  let value;
  value = get(record, key);
  if ((!(is_number(value)) || !(Number.isFinite(value)))) {
    throw new Error(`${text(key)} must be a finite number, got ${text(value)}`);
  }
  return Number(value);
}

function _fit(network, given, line) {
  let layers, numbers, tensors;
  [layers, tensors] = [network.layers, network.tensors];
  if ((network.inputs > given)) {
    throw new LineError(line, `the weights are for ${text(network.inputs)} inputs, but the settings give ${text(given)}: code and weights are of different trainings`);
  }
  if ((network.outputs < 5)) {
    throw new LineError(line, `the network must have ${text(5)} outputs, one per action, got ${text(network.outputs)}`);
  }
  if ((network.inputs < given)) {
    if ((!same(layers[0].kind, "dense"))) {
      throw new LineError(line, `the weights are for ${text(network.inputs)} of ${text(given)} inputs, which only a fully connected layer reads; the first is ${text(layers[0].kind)}`);
    }
    layers = [new Slice({ start: 0, stop: network.inputs }), ...layers];
    numbers = Object.entries(tensors).map(([name, tensor]) => [name.split("."), tensor]);
    tensors = Object.fromEntries(numbers.map(([[number, name], tensor]) => [`${text((Math.trunc(number) + 1))}.${text(name)}`, tensor]));
  }
  if ((network.outputs > 5)) {
    layers = [...layers, new Slice({ start: 0, stop: 5 })];
  }
  try {
    return new Network(given, layers, tensors);
  } catch (error) {
    throw new LineError(line, `the weights: ${error.message}`);
  }
}

class Layer {
  constructor(record) {
    fill(this, record);
  }
  output_shape(shapes) {
    return shapes[0];
  }
  tensor_shapes(shapes) {
    return ({});
  }
  operations(shapes) {
    return size(this.output_shape(shapes));
  }
  memory(shapes) {
    return 0;
  }
  work(shapes) {
    return 0;
  }
  operands(shapes) {
    return [Math.floor(size(shapes[0]) / shapes[0].at(-1)), shapes[0].at(-1)];
  }
  weights(tensors) {
    return [];
  }
}
Layer.fields = { inputs: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 0, "maxItems": 64}, "default": []} };
Layer.prototype.arity = [1, 1];

class Gaps extends Layer {
  output_shape(shapes) {
    let cells, columns;
    columns = ((2 * this.lanes_side) + 1);
    cells = (columns * (this.patches_ahead + this.patches_behind));
    if (((same(cells, 0)) || (!same(shapes[0], [cells])))) {
      throw new Error(`gaps of a sensor of ${text(cells)} cells on shape ${text(shapes[0])}; slice the cells out before it`);
    }
    return [(columns * 6)];
  }
  operations(shapes) {
    return (3 * size(shapes[0]));
  }
  operands(shapes) {
    return [this.lanes_side, this.patches_ahead, this.patches_behind];
  }
  weights(tensors) {
    return [[this.empty]];
  }
}
Gaps.fields = { ...Layer.fields, lanes_side: {"schema": {"type": "integer", "minimum": 0, "maximum": 50}}, patches_ahead: {"schema": {"type": "integer", "minimum": 0, "maximum": 1000}}, patches_behind: {"schema": {"type": "integer", "minimum": 0, "maximum": 1000}}, empty: {"schema": {"type": "number", "minimum": 0.001, "maximum": 1000000.0}, "default": 100.0} };
Gaps.prototype.kind = "gaps";

class SensorCells extends Layer {
  output_shape(shapes) {
    expect_axes(this, shapes[0], [3]);
    if ((!same(shapes[0][2], 2))) {
      throw new Error(`cells: an image must have 2 channels, vehicle and speed, got ${text(shapes[0][2])}`);
    }
    if (((same(len(shapes), 2)) && (!same(shapes[1], shapes[0].slice(1, 2))))) {
      throw new Error(`cells: ${text(shapes[0][1])} columns need as many scores, not shape ${text(shapes[1])}`);
    }
    return [(((2 * this.lanes_side) + 1) * (this.patches_ahead + this.patches_behind))];
  }
  operations(shapes) {
    return ((2 * size(shapes[0])) + size(this.output_shape(shapes)));
  }
  operands(shapes) {
    let sensor;
    sensor = [this.lanes_side, this.patches_ahead, this.patches_behind];
    return [shapes[0][0], shapes[0][1], ...sensor, this.row, Math.trunc((len(shapes) > 1))];
  }
  weights(tensors) {
    return [[this.empty]];
  }
}
SensorCells.fields = { ...Layer.fields, lanes_side: {"schema": {"type": "integer", "minimum": 0, "maximum": 50}}, patches_ahead: {"schema": {"type": "integer", "minimum": 0, "maximum": 1000}}, patches_behind: {"schema": {"type": "integer", "minimum": 0, "maximum": 1000}}, row: {"schema": {"type": "integer", "minimum": 0, "maximum": 1000}}, empty: {"schema": {"type": "number", "minimum": 0.001, "maximum": 1000000.0}, "default": 100.0} };
SensorCells.prototype.kind = "cells";
SensorCells.prototype.arity = [1, 2];

class Reshape extends Layer {
  output_shape(shapes) {
    if ((!same(size(this.shape), size(shapes[0])))) {
      throw new Error(`reshape to ${text(this.shape)} needs ${text(size(this.shape))} values, not ${text(size(shapes[0]))}`);
    }
    return this.shape;
  }
}
Reshape.fields = { ...Layer.fields, shape: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 1048576}, "minItems": 1, "maxItems": 3}} };
Reshape.prototype.kind = "reshape";

class Flatten extends Layer {
  output_shape(shapes) {
    if ((same(this.order, "chw"))) {
      expect_axes(this, shapes[0], [3]);
    }
    return [size(shapes[0])];
  }
}
Flatten.fields = { ...Layer.fields, order: {"schema": {"enum": ["hwc", "chw"]}, "default": "hwc"} };
Flatten.prototype.kind = "flatten";

class Concat extends Layer {
  output_shape(shapes) {
    if ((!same(len(distinct(shapes.map((shape) => shape.slice(0, -(1))))), 1))) {
      throw new Error(`concat of shapes ${text(shapes)}: all axes but the last must agree`);
    }
    return [...shapes[0].slice(0, -(1)), sum(shapes.map((shape) => shape.at(-1)))];
  }
}
Concat.fields = { ...Layer.fields,  };
Concat.prototype.kind = "concat";
Concat.prototype.arity = [1, 64];

class Add extends Layer {
  output_shape(shapes) {
    if ((!same(len(distinct(shapes)), 1))) {
      throw new Error(`add of shapes ${text(shapes)}: they must be equal`);
    }
    return shapes[0];
  }
}
Add.fields = { ...Layer.fields,  };
Add.prototype.kind = "add";
Add.prototype.arity = [2, 64];

class Slice extends Layer {
  output_shape(shapes) {
    if (!((this.start < this.stop && this.stop <= shapes[0].at(-1)))) {
      throw new Error(`slice ${text(this.start)}..${text(this.stop)} of a last axis of ${text(shapes[0].at(-1))} entries`);
    }
    return [...shapes[0].slice(0, -(1)), (this.stop - this.start)];
  }
}
Slice.fields = { ...Layer.fields, start: {"schema": {"type": "integer", "minimum": 0, "maximum": 1048576}}, stop: {"schema": {"type": "integer", "minimum": 1, "maximum": 1048576}} };
Slice.prototype.kind = "slice";

class Dense extends Layer {
  output_shape(shapes) {
    return [...shapes[0].slice(0, -(1)), this.outputs];
  }
  tensor_shapes(shapes) {
    let weight;
    weight = ({["weight"]: [this.outputs, shapes[0].at(-1)]});
    return (this.bias ? ({ ...weight, ...({["bias"]: [this.outputs]}) }) : weight);
  }
  operations(shapes) {
    return (size(shapes[0]) * this.outputs);
  }
  operands(shapes) {
    return [...super.operands(shapes), this.outputs, Math.trunc(this.bias)];
  }
  weights(tensors) {
    return [tensors["weight"].T, ...(this.bias ? [tensors["bias"]] : [])];
  }
}
Dense.fields = { ...Layer.fields, outputs: {"schema": {"type": "integer", "minimum": 1, "maximum": 1048576}}, bias: {"schema": {"type": "boolean"}, "default": true} };
Dense.prototype.kind = "dense";

class Conv2d extends Layer {
  output_shape(shapes) {
    expect_axes(this, shapes[0], [3]);
    return [...windows(this, shapes[0]), this.filters];
  }
  tensor_shapes(shapes) {
    let weight;
    weight = ({["weight"]: [this.filters, ...this.kernel, shapes[0][2]]});
    return (this.bias ? ({ ...weight, ...({["bias"]: [this.filters]}) }) : weight);
  }
  operations(shapes) {
    return ((size(this.output_shape(shapes)) * size(this.kernel)) * shapes[0][2]);
  }
  operands(shapes) {
    return [...shapes[0], this.filters, ...this.kernel, this.output_shape(shapes)[1]];
  }
  weights(tensors) {
    let weight, window;
    window = [...this.stride, ...this.padding, Number(this.bias)];
    weight = transpose(tensors["weight"], [1, 2, 3, 0]);
    return [window, weight, ...(this.bias ? [tensors["bias"]] : [])];
  }
}
Conv2d.fields = { ...Layer.fields, filters: {"schema": {"type": "integer", "minimum": 1, "maximum": 4096}}, kernel: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 256}, "minItems": 2, "maxItems": 2}}, stride: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 256}, "minItems": 2, "maxItems": 2}, "default": [1, 1]}, padding: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 256}, "minItems": 2, "maxItems": 2}, "default": [0, 0]}, bias: {"schema": {"type": "boolean"}, "default": true} };
Conv2d.prototype.kind = "conv2d";

class MaxPool extends Layer {
  output_shape(shapes) {
    expect_axes(this, shapes[0], [3]);
    return [...windows(this, shapes[0]), shapes[0][2]];
  }
  operations(shapes) {
    return (size(this.output_shape(shapes)) * size(this.kernel));
  }
  operands(shapes) {
    return [...shapes[0], ...this.kernel, this.output_shape(shapes)[1]];
  }
  weights(tensors) {
    return [[...this.stride, ...this.padding, this.floor]];
  }
}
MaxPool.fields = { ...Layer.fields, kernel: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 256}, "minItems": 2, "maxItems": 2}}, stride: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 256}, "minItems": 2, "maxItems": 2}}, padding: {"schema": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 256}, "minItems": 2, "maxItems": 2}, "default": [0, 0]}, floor: {"schema": {"type": "number", "minimum": -1.7976931348623157e+308, "maximum": 1e+300}, "default": -1.7976931348623157e+308} };
MaxPool.prototype.kind = "maxpool";

class Scale extends Layer {
  tensor_shapes(shapes) {
    let shape;
    shape = ((same(this.per, "all")) ? [1] : shapes[0].slice(-(1)));
    return ({["factor"]: shape, ["offset"]: shape});
  }
  operands(shapes) {
    return [((same(this.per, "all")) ? 1 : shapes[0].at(-1))];
  }
  weights(tensors) {
    return [tensors["factor"], tensors["offset"]];
  }
}
Scale.fields = { ...Layer.fields, per: {"schema": {"enum": ["all", "feature"]}, "default": "feature"} };
Scale.prototype.kind = "scale";

class Clip extends Layer {
  output_shape(shapes) {
    if ((this.low > this.high)) {
      throw new Error(`clip: low ${text(this.low)} is above high ${text(this.high)}`);
    }
    return shapes[0];
  }
  weights(tensors) {
    return [[this.low, this.high]];
  }
}
Clip.fields = { ...Layer.fields, low: {"schema": {"type": "number", "minimum": -1e+300, "maximum": 1e+300}}, high: {"schema": {"type": "number", "minimum": -1e+300, "maximum": 1e+300}} };
Clip.prototype.kind = "clip";

class LayerNorm extends Layer {
  tensor_shapes(shapes) {
    return ({["weight"]: shapes[0].slice(-(1)), ["bias"]: shapes[0].slice(-(1))});
  }
  weights(tensors) {
    return [[this.epsilon], tensors["weight"], tensors["bias"]];
  }
}
LayerNorm.fields = { ...Layer.fields, epsilon: {"schema": {"type": "number", "minimum": 0.0, "maximum": 1.0}, "default": 1e-05} };
LayerNorm.prototype.kind = "layer_norm";

class Lrn extends Layer {
  operations(shapes) {
    return (size(shapes[0]) * this.n);
  }
  operands(shapes) {
    return [...super.operands(shapes), this.n];
  }
  weights(tensors) {
    return [[this.k, this.alpha, this.beta]];
  }
}
Lrn.fields = { ...Layer.fields, n: {"schema": {"type": "integer", "minimum": 1, "maximum": 4097}}, k: {"schema": {"type": "number", "minimum": -1e+300, "maximum": 1e+300}}, alpha: {"schema": {"type": "number", "minimum": -1e+300, "maximum": 1e+300}}, beta: {"schema": {"type": "number", "minimum": -1e+300, "maximum": 1e+300}} };
Lrn.prototype.kind = "lrn";

class Relu extends Layer {
}
Relu.fields = { ...Layer.fields,  };
Relu.prototype.kind = "relu";

class LeakyRelu extends Layer {
  weights(tensors) {
    return [[this.slope]];
  }
}
LeakyRelu.fields = { ...Layer.fields, slope: {"schema": {"type": "number", "minimum": -1000.0, "maximum": 1000.0}, "default": 0.01} };
LeakyRelu.prototype.kind = "leaky_relu";

class Elu extends Layer {
  weights(tensors) {
    return [[this.alpha]];
  }
}
Elu.fields = { ...Layer.fields, alpha: {"schema": {"type": "number", "minimum": -1000.0, "maximum": 1000.0}, "default": 1.0} };
Elu.prototype.kind = "elu";

class Tanh extends Layer {
  operands(shapes) {
    return [Math.trunc((same(this.form, "convnetjs")))];
  }
}
Tanh.fields = { ...Layer.fields, form: {"schema": {"enum": ["standard", "convnetjs"]}, "default": "standard"} };
Tanh.prototype.kind = "tanh";

class Sigmoid extends Layer {
}
Sigmoid.fields = { ...Layer.fields,  };
Sigmoid.prototype.kind = "sigmoid";

class Gelu extends Layer {
  operands(shapes) {
    return [Math.trunc((same(this.approximate, "tanh")))];
  }
}
Gelu.fields = { ...Layer.fields, approximate: {"schema": {"enum": ["none", "tanh"]}, "default": "none"} };
Gelu.prototype.kind = "gelu";

class Softmax extends Layer {
}
Softmax.fields = { ...Layer.fields,  };
Softmax.prototype.kind = "softmax";

class Maxout extends Layer {
  output_shape(shapes) {
    if ((shapes[0].at(-1) < this.group)) {
      throw new Error(`maxout: ${text(shapes[0].at(-1))} entries do not fill one group of ${text(this.group)}`);
    }
    return [...shapes[0].slice(0, -(1)), Math.floor(shapes[0].at(-1) / this.group)];
  }
  operations(shapes) {
    return size(shapes[0]);
  }
  operands(shapes) {
    return [...super.operands(shapes), this.group];
  }
}
Maxout.fields = { ...Layer.fields, group: {"schema": {"type": "integer", "minimum": 1, "maximum": 1048576}} };
Maxout.prototype.kind = "maxout";

class Dropout extends Layer {
  weights(tensors) {
    return [[this.factor]];
  }
}
Dropout.fields = { ...Layer.fields, factor: {"schema": {"type": "number", "minimum": 0.0, "maximum": 1.0}} };
Dropout.prototype.kind = "dropout";

class _Recurrent extends Layer {
  output_shape(shapes) {
    expect_axes(this, shapes[0], [1]);
    return [this.hidden];
  }
  tensor_shapes(shapes) {
    let rows;
    rows = (this.gates * this.hidden);
    return ({["weight_input"]: [rows, shapes[0][0]], ["weight_hidden"]: [rows, this.hidden], ["bias_input"]: [rows], ["bias_hidden"]: [rows]});
  }
  operations(shapes) {
    return ((this.gates * this.hidden) * (shapes[0][0] + this.hidden));
  }
  memory(shapes) {
    return this.hidden;
  }
  work(shapes) {
    return ((2 * this.gates) * this.hidden);
  }
  weights(tensors) {
    let names;
    names = ["weight_input", "weight_hidden", "bias_input", "bias_hidden"];
    return names.map((name) => tensors[name].T);
  }
}
_Recurrent.fields = { ...Layer.fields, hidden: {"schema": {"type": "integer", "minimum": 1, "maximum": 4096}} };

class Rnn extends _Recurrent {
}
Rnn.fields = { ..._Recurrent.fields,  };
Rnn.prototype.kind = "rnn";
Rnn.prototype.gates = 1;

class Gru extends _Recurrent {
}
Gru.fields = { ..._Recurrent.fields,  };
Gru.prototype.kind = "gru";
Gru.prototype.gates = 3;

class Lstm extends _Recurrent {
  memory(shapes) {
    return (2 * this.hidden);
  }
}
Lstm.fields = { ..._Recurrent.fields,  };
Lstm.prototype.kind = "lstm";
Lstm.prototype.gates = 4;

class Attention extends Layer {
  output_shape(shapes) {
    expect_mask(this, shapes);
    if ((shapes[0][1] % this.heads)) {
      throw new Error(`attention: ${text(shapes[0][1])} features do not divide into ${text(this.heads)} heads`);
    }
    return shapes[0];
  }
  tensor_shapes(shapes) {
    let d;
    d = shapes[0][1];
    return ({["weight_in"]: [(3 * d), d], ["bias_in"]: [(3 * d)], ["weight_out"]: [d, d], ["bias_out"]: [d]});
  }
  operations(shapes) {
    let d, k;
    [k, d] = shapes[0];
    return ((((4 * k) * d) * d) + (((2 * k) * k) * d));
  }
  work(shapes) {
    let d, k;
    [k, d] = shapes[0];
    return (((4 * k) * d) + k);
  }
  operands(shapes) {
    return [...shapes[0], this.heads, Math.trunc((len(shapes) > 1))];
  }
  weights(tensors) {
    return ["weight_in", "bias_in", "weight_out", "bias_out"].map((name) => tensors[name].T);
  }
}
Attention.fields = { ...Layer.fields, heads: {"schema": {"type": "integer", "minimum": 1, "maximum": 256}, "default": 1} };
Attention.prototype.kind = "attention";
Attention.prototype.arity = [1, 2];

class SetPool extends Layer {
  output_shape(shapes) {
    expect_mask(this, shapes);
    return shapes[0].slice(1);
  }
  operations(shapes) {
    return size(shapes[0]);
  }
  operands(shapes) {
    return [...shapes[0], ["mean", "max", "sum"].indexOf(this.mode), Math.trunc((len(shapes) > 1))];
  }
}
SetPool.fields = { ...Layer.fields, mode: {"schema": {"enum": ["mean", "max", "sum"]}, "default": "mean"} };
SetPool.prototype.kind = "set_pool";
SetPool.prototype.arity = [1, 2];

class Dueling extends Layer {
  output_shape(shapes) {
    if ((!same(size(shapes[0]), 1))) {
      throw new Error(`dueling: the first input must be the state's value, shape (1,), got ${text(shapes[0])}`);
    }
    expect_axes(this, shapes[1], [1]);
    return shapes[1];
  }
}
Dueling.fields = { ...Layer.fields,  };
Dueling.prototype.kind = "dueling";
Dueling.prototype.arity = [2, 2];

export class Network {
  constructor(inputs, layers, tensors) {
    Object.assign(this, { inputs, layers, tensors });
  }
  get outputs() {
    return size(this.shapes().at(-1));
  }
  shapes() {
    let given, high, layer, low, number, shape, shapes;
    shapes = [[this.inputs]];
    for ([number, layer] of enumerate(this.layers, 1)) {
      given = this.sources(number).map((i) => shapes[i]);
      [low, high] = layer.arity;
      if (!((low <= len(given) && len(given) <= high))) {
        throw new Error(`layer ${text(number)} (${text(layer.kind)}) must have ${text(low)} to ${text(high)} inputs, got ${text(len(given))}`);
      }
      try {
        shape = layer.output_shape(given);
      } catch (error) {
        throw new Error(`layer ${text(number)}: ${error.message}`);
      }
      if (!((0 < size(shape) && size(shape) <= 1048576))) {
        throw new Error(`layer ${text(number)} (${text(layer.kind)}) has ${text(size(shape))} outputs, at most ${text(1048576)}`);
      }
      shapes.push(shape);
    }
    return shapes;
  }
  sources(number) {
    let given, inputs;
    given = this.layers[(number - 1)].inputs;
    inputs = ((len(given) > 0) ? given : [(number - 1)]);
    if ((Math.max(...inputs) >= number)) {
      throw new Error(`layer ${text(number)} reads value ${text(Math.max(...inputs))}, which does not exist before it`);
    }
    return inputs;
  }
  given_shapes() {
    let shapes;
    shapes = this.shapes();
    return range(1, (len(this.layers) + 1)).map((number) => this.sources(number).map((i) => shapes[i]));
  }
  tensor_shapes() {
    let given, layer, name, needed, number, shape;
    needed = ({});
    for ([number, [layer, given]] of enumerate(zip(this.layers, this.given_shapes()), 1)) {
      for ([name, shape] of Object.entries(layer.tensor_shapes(given))) {
        needed[`${text(number)}.${text(name)}`] = shape;
      }
    }
    return needed;
  }
  check_size() {
    let given, limit, limits, pairs, shapes, value, what;
    [shapes, given] = [this.shapes(), this.given_shapes()];
    pairs = [...zip(this.layers, given)];
    limits = ({["values of scratch"]: [(sum(shapes.map((each) => size(each))) + sum(pairs.map(([layer, g]) => layer.work(g)))), 4000000], ["multiplications"]: [sum(pairs.map(([layer, g]) => layer.operations(g))), 50000000], ["values of memory"]: [sum(pairs.map(([layer, g]) => layer.memory(g))), 65536]});
    for ([what, [value, limit]] of Object.entries(limits)) {
      if ((value > limit)) {
        throw new Error(`the network needs ${text(value)} ${text(what)}, at most ${text(limit)}: make its layers smaller`);
      }
    }
  }
  check_tensors() {
    let _, name, needed, shape;
    needed = this.tensor_shapes();
    for ([name, _] of Object.entries(needed)) {
      if ((!contains(this.tensors, name))) {
        throw new Error(`tensor ${text(name)} is missing`);
      }
    }
    for ([name, _] of Object.entries(this.tensors)) {
      if ((!contains(needed, name))) {
        throw new Error(`tensor ${text(name)} belongs to no layer`);
      }
    }
    for ([name, shape] of Object.entries(needed)) {
      if ((!same(this.tensors[name].shape, shape))) {
        throw new Error(`tensor ${text(name)} has shape ${text(this.tensors[name].shape)}; its layer needs ${text(shape)}`);
      }
      if (!(allFinite(this.tensors[name]))) {
        throw new Error(`tensor ${text(name)} holds a value that is not finite`);
      }
    }
  }
}

export class Assembler {
  constructor(network) {
    this.network = network;
    this.rows = [];
    this.weights = [];
    this.used_weights = 0;
    this.scratch = network.inputs;
    this.memory = 0;
    this.at = [0];
    this.shapes = network.shapes();
  }
  add_layers() {
    let layer, number;
    for ([number, layer] of enumerate(this.network.layers, 1)) {
      this.add_layer(number, layer);
    }
  }
  add_layer(number, layer) {
    let flat, given, i, operand, part, place, row, shape, sources, tensors;
    sources = this.network.sources(number);
    [given, shape] = [sources.map((i) => this.shapes[i]), this.shapes[number]];
    if (((layer instanceof Reshape) || ((layer instanceof Flatten) && (same(layer.order, "hwc"))))) {
      this.at.push(this.at[sources[0]]);
      return;
    }
    place = this.reserve(size(shape));
    this.at.push(place);
    row = range(0, 16).map((_) => 0);
    [row[1], row[2]] = [this.at[sources[0]], size(given[0])];
    [row[3], row[4]] = [place, size(shape)];
    if ((layer instanceof Concat || layer instanceof Add || layer instanceof Slice || layer instanceof Flatten)) {
      this.arrange(layer, row, sources, given, shape);
      return;
    }
    row[6] = ((len(sources) > 1) ? this.at[sources[1]] : 0);
    [row[0], row[5], row[7]] = [{"gaps": 3, "cells": 4, "reshape": 5, "flatten": 6, "concat": 7, "add": 8, "slice": 9, "dense": 10, "conv2d": 11, "maxpool": 12, "scale": 13, "clip": 14, "layer_norm": 15, "lrn": 16, "relu": 17, "leaky_relu": 18, "elu": 19, "tanh": 20, "sigmoid": 21, "gelu": 22, "softmax": 23, "maxout": 24, "dropout": 25, "rnn": 26, "gru": 27, "lstm": 28, "attention": 29, "set_pool": 30, "dueling": 31}[layer.kind], this.used_weights, this.memory];
    row[8] = this.reserve(layer.work(given));
    tensors = Object.fromEntries(Object.entries(layer.tensor_shapes(given)).map(([name, _]) => [name, this.network.tensors[`${text(number)}.${text(name)}`]]));
    for ([i, operand] of enumerate(layer.operands(given), 9)) {
      row[i] = operand;
    }
    this.rows.push(row);
    this.memory += layer.memory(given);
    for (part of layer.weights(tensors)) {
      flat = ravel(part);
      this.weights.push(flat);
      this.used_weights += len(flat);
    }
  }
  arrange(layer, row, sources, given, shape) {
    let g, i, source, start, step, width;
    [width, start] = [shape.at(-1), 0];
    for ([i, [source, g]] of enumerate(zip(sources, given), 0)) {
      step = row.slice();
      step[1] = this.at[source];
      if (((layer instanceof Add) && (i > 0))) {
        step[0] = 2;
      } else {
        if ((layer instanceof Flatten)) {
          [step[0], step[9], step[10]] = [1, (g[0] * g[1]), g[2]];
        } else {
          if ((layer instanceof Slice)) {
            step[1] += layer.start;
            [step[9], step[10], step[11], step[12]] = [Math.floor(size(shape) / width), width, g.at(-1), width];
          } else {
            step[3] += start;
            [step[9], step[10], step[11], step[12]] = [Math.floor(size(g) / g.at(-1)), g.at(-1), g.at(-1), width];
            start += ((layer instanceof Concat) ? g.at(-1) : 0);
          }
        }
      }
      this.rows.push(step);
    }
  }
  reserve(count) {
    let place;
    place = this.scratch;
    this.scratch += count;
    return place;
  }
}

class _NetworkReader {
  constructor(record) {
    let layers;
    layers = ((isDict(record)) ? get(record, "layers") : null);
    if ((!((Array.isArray(layers))) || !((2 <= len(layers) && len(layers) <= 200)))) {
      throw new Error("no list `layers` of 2 to 200 layers");
    }
    this.records = layers;
    this.layers = [];
    this.tensors = ({});
    this.shape = [1, 1, 1];
    this.flat = true;
    this.empty = false;
  }
  read() {
    let inputs, kind, number, record;
    inputs = 0;
    for ([number, record] of enumerate(this.records)) {
      if (!((isDict(record)))) {
        throw new Error(`layer ${text(number)} is not an object`);
      }
      kind = get(record, "layer_type");
      if ((!same((same(number, 0)), (same(kind, "input"))))) {
        throw new Error(`layer ${text(number)} is of type ${text(kind)}; the first, and it alone, must be the input`);
      }
      if ((same(kind, "input"))) {
        this.shape = [...["out_sy", "out_sx", "out_depth"].map((key) => whole(record, key))];
        inputs = prod(this.shape);
      } else {
        this.where = `layer ${text(number)} (${text(kind)})`;
        this.add(text(kind), record);
        this.check_outputs(record);
      }
    }
    return new Network(inputs, [...this.layers], this.tensors);
  }
  add(kind, record) {
    let alpha, beta, k, simple;
    simple = ({["relu"]: new Relu({}), ["sigmoid"]: new Sigmoid({}), ["tanh"]: new Tanh({ form: "convnetjs" })});
    if ((contains(simple, kind))) {
      this.append(simple[kind]);
    } else {
      if ((same(kind, "fc"))) {
        this.fully_connected(record);
      } else {
        if ((same(kind, "conv"))) {
          this.convolution(record);
        } else {
          if ((same(kind, "pool"))) {
            this.pooling(record);
          } else {
            if ((same(kind, "maxout"))) {
              this.maxout(record);
            } else {
              if ((same(kind, "dropout"))) {
                this.append(new Dropout({ factor: real(record, "drop_prob") }));
              } else {
                if ((same(kind, "lrn"))) {
                  this.as_image();
                  [k, alpha, beta] = ["k", "alpha", "beta"].map((key) => real(record, key));
                  this.append(new Lrn({ n: whole(record, "n"), k: k, alpha: alpha, beta: beta }));
                } else {
                  if ((same(kind, "softmax"))) {
                    this.as_vector();
                    this.append(new Softmax({}));
                  } else {
                    if ((contains(["regression", "svm"], kind))) {
                      this.as_vector();
                    } else {
                      throw new Error(`${text(this.where)}: no layer of the original library`);
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
  append(layer, tensors = {}) {
    let name, tensor;
    this.layers.push(layer);
    for ([name, tensor] of Object.entries(tensors)) {
      this.tensors[`${text(len(this.layers))}.${text(name)}`] = tensor;
    }
  }
  as_vector() {
    if (!(this.flat)) {
      this.append(new Flatten({}));
    }
    this.flat = true;
    this.shape = [1, 1, prod(this.shape)];
  }
  as_image() {
    if ((this.flat && (!same(this.shape.slice(0, 2), [1, 1])))) {
      this.append(new Reshape({ shape: this.shape }));
      this.flat = false;
    }
  }
  fully_connected(record) {
    let inputs, outputs, weight;
    this.as_vector();
    [inputs, outputs] = [(this.empty ? 0 : this.shape[2]), whole(record, "out_depth")];
    weight = this.filters(record, outputs, [1, 1, inputs]).reshape(outputs, inputs);
    if (this.empty) {
      [weight, this.empty] = [zeros([outputs, 1]), false];
    }
    this.append(new Dense({ outputs: outputs }), { weight: weight, bias: this.biases(record, outputs) });
    this.shape = [1, 1, outputs];
  }
  window(record) {
    let pad, size, stride;
    [size, pad] = [[whole(record, "sy"), whole(record, "sx")], whole(record, "pad", 0)];
    stride = whole(record, "stride");
    if ((same(stride, 0))) {
      throw new Error(`${text(this.where)} has stride 0`);
    }
    return ({["kernel"]: size, ["stride"]: [stride, stride], ["padding"]: [pad, pad]});
  }
  convolution(record) {
    let filters, weight, window;
    if (this.swallowed(record, whole(record, "out_depth"))) {
      return;
    }
    if (this.flat) {
      this.append(new Reshape({ shape: this.shape }));
      this.flat = false;
    }
    [filters, window] = [whole(record, "out_depth"), this.window(record)];
    weight = this.filters(record, filters, [...window["kernel"], this.shape[2]]);
    this.append(new Conv2d({ filters: filters, ...window }), { weight: weight, bias: this.biases(record, filters) });
    this.after_window(window, filters);
  }
  pooling(record) {
    let window;
    if (this.swallowed(record, this.shape[2])) {
      return;
    }
    if (this.flat) {
      this.append(new Reshape({ shape: this.shape }));
      this.flat = false;
    }
    window = this.window(record);
    this.append(new MaxPool({ floor: -99999.0, ...window }));
    this.after_window(window, this.shape[2]);
  }
  swallowed(record, channels) {
    let columns, count, rows;
    [rows, columns] = this.sides(this.window(record));
    if (((rows > 0) && (columns > 0))) {
      return false;
    }
    if (((rows * columns) < 0)) {
      throw new Error(`${text(this.where)} has ${text(rows)} rows and ${text(columns)} columns, which the library cannot hold`);
    }
    this.as_vector();
    count = Math.max(1, ((rows * columns) * channels));
    this.append(new Dense({ outputs: count }), { weight: zeros([count, this.shape[2]]), bias: zeros(count) });
    [this.shape, this.empty] = [[1, 1, count], (same((rows * columns), 0))];
    return true;
  }
  sides(window) {
    let sizes;
    sizes = zip(this.shape.slice(0, 2), window["kernel"], window["stride"], window["padding"]);
    return sizes.map(([n, k, s, p]) => (Math.floor(((n + (2 * p)) - k) / s) + 1));
  }
  after_window(window, channels) {
    let columns, rows;
    [rows, columns] = this.sides(window);
    this.shape = [rows, columns, channels];
  }
  maxout(record) {
    let group;
    group = whole(record, "group_size");
    this.append(new Maxout({ group: group }));
    this.shape = [...this.shape.slice(0, 2), Math.floor(this.shape[2] / group)];
  }
  check_outputs(record) {
    let given, now, said;
    now = zip(["out_sy", "out_sx", "out_depth"], this.shape);
    said = prod(now.map(([key, side]) => ((contains(record, key)) ? real(record, key) : side)));
    given = (this.empty ? 0 : prod(this.shape));
    if ((!same(said, given))) {
      throw new Error(`${text(this.where)} declares ${text(said)} outputs, but has ${text(given)}`);
    }
  }
  filters(record, count, shape) {
    let found, have;
    found = get(record, "filters");
    if ((!((Array.isArray(found))) || (!same(len(found), count)))) {
      have = ((Array.isArray(found)) ? len(found) : "no");
      throw new Error(`${text(this.where)} has ${text(have)} filters for ${text(count)} outputs`);
    }
    if (((count * prod(shape)) > (1048576 * 4))) {
      throw new Error(`${text(this.where)} has ${text((count * prod(shape)))} weights; at most ${text((1048576 * 4))}`);
    }
    return array(found.map((f) => this.vol(f, prod(shape)))).reshape(count, ...shape);
  }
  biases(record, count) {
    return this.vol(get(record, "biases"), count);
  }
  vol(record, count) {
    let have, missing, numbers, places, values;
    numbers = ((isDict(record)) ? get(record, "w") : null);
    if ((isDict(numbers))) {
      places = range(len(numbers)).map((i) => text(i));
      missing = places.filter((place) => (!contains(numbers, place))).map((place) => place);
      if ((len(missing) > 0)) {
        throw new Error(`${text(this.where)} lacks weight ${text(missing[0])}`);
      }
      numbers = places.map((place) => numbers[place]);
    }
    if ((!((Array.isArray(numbers))) || (!same(len(numbers), count)))) {
      have = ((Array.isArray(numbers)) ? len(numbers) : "no");
      throw new Error(`${text(this.where)} must have ${text(count)} weights, got ${text(have)}: the sizes do not agree`);
    }
    numbers = numbers.map((n) => ((n == null) ? 0.0 : n));
    if (!(numbers.map((n) => is_number(n)).every(Boolean))) {
      throw new Error(`${text(this.where)} holds a weight that is not a number`);
    }
    values = array(numbers, Number);
    if (!(allFinite(values))) {
      throw new Error(`${text(this.where)} holds a weight that is not finite`);
    }
    return values;
  }
}

export const LAYERS = { "gaps": Gaps, "cells": SensorCells, "reshape": Reshape, "flatten": Flatten, "concat": Concat, "add": Add, "slice": Slice, "dense": Dense, "conv2d": Conv2d, "maxpool": MaxPool, "scale": Scale, "clip": Clip, "layer_norm": LayerNorm, "lrn": Lrn, "relu": Relu, "leaky_relu": LeakyRelu, "elu": Elu, "tanh": Tanh, "sigmoid": Sigmoid, "gelu": Gelu, "softmax": Softmax, "maxout": Maxout, "dropout": Dropout, "rnn": Rnn, "gru": Gru, "lstm": Lstm, "attention": Attention, "set_pool": SetPool, "dueling": Dueling };

/** The layer that stands in a manifest. */
export const layerFromJson = (record) => {
  if (!(record.type in LAYERS)) throw new Error(`unknown layer type ${JSON.stringify(record.type)}`);
  return new LAYERS[record.type](record);
};

/** The network that ConvNetJS would build from this object, on `inputs` values, with one output per action. */
export const networkFromConvNetJS = (record, inputs) => _fit(new _NetworkReader(record).read(), inputs, 1);
