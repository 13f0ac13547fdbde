// Runs in a frame without origin: a visitor's code becomes a worker of this frame, and its one answer goes to the page.
addEventListener("message", ({ data, source }) => {
  if (source !== parent) return;
  const running = new Worker(URL.createObjectURL(data));
  running.onmessage = ({ data: answers }) => parent.postMessage(Array.from(answers ?? []), "*");
  running.onerror = (event) => {
    event.preventDefault();
    parent.postMessage([JSON.stringify({ error: event.message, line: event.lineno })], "*");
  };
});
parent.postMessage([], "*"); // ready
