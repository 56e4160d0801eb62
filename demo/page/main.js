/** The demo: from the lobby to a call, and back. */

import { call } from "./call.js";
import { Devices } from "./devices.js";
import { byId } from "./dom.js";
import { lobby } from "./lobby.js";
import { SignalingClient } from "./sdk/signaling.js";

/** What the server wants every connection to use; without an answer the SDK's own. */
async function fetchConfiguration() {
  try {
    const response = await fetch("config.json");
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/** @param {RTCConfiguration | undefined} rtcConfiguration */
function newClient(rtcConfiguration) {
  const client = new SignalingClient(byId("preview", HTMLVideoElement), {
    // The page's folder, also behind a path prefix.
    signalingServerEndpoint: new URL(".", location.href).href,
    rtcConfiguration,
  });
  // For the console, and for tests.
  Object.assign(window, { signaling: client });
  return client;
}

const configuration = await fetchConfiguration();
let client = newClient(configuration);
const devices = new Devices(client);

// A page that left the call cannot go on with it when the browser shows it again.
window.addEventListener("pagehide", () => client.close());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

for (let returning = false; ; returning = true) {
  const room = await lobby(client, devices, returning);
  await call(client, devices, room);
  client = newClient(configuration);
  devices.use(client);
}
