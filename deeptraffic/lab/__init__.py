"""The simulator, the policies' interpreter and a learner as WebAssembly, for a web page: this package's own functions.

`entries` names what the module, engine.wasm, offers; `build` makes it; engine.js is its interface for JavaScript;
`site` makes and serves the page.
"""
