// The page: three parts, each with a worker of its own, which drive, train and evaluate.
import "./driving.js";
import "./evaluation.js";
import "./film.js";
import "./game.js";
import "./network.js";
import "./submitting.js";
import "./tour.js";
import "./training.js";

if (navigator.serviceWorker) navigator.serviceWorker.register("offline.js").catch(() => {});
