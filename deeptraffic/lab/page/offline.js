// Service worker: what was loaded once is there without a network; with one, the newest files are taken.
// VERSION and FILES stand above this line in the file that is served.
self.addEventListener("install", (event) => event.waitUntil((async () => {
  await (await caches.open(VERSION)).addAll(["./", ...FILES]);
  await self.skipWaiting();
})()));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name !== VERSION) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== self.location.origin) return;
  event.respondWith(fetch(event.request).catch(async () => (await caches.match(event.request, { ignoreSearch: true })) ?? Response.error()));
});
