/** The demo page. It leads from the lobby to a call and back. */

import { call } from "./call.js";
import { Devices } from "./devices.js";
import { byId } from "./dom.js";
import { lobby } from "./lobby.js";
import { SignalingClient } from "./sdk/signaling.js";

/**
 * Fetches the configuration that the server wants every connection to use. Without an answer, it is
 * undefined, and the SDK uses its own.
 */
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
    // The server is in the page's folder, also behind a proxy that adds a prefix to the path.
    signalingServerEndpoint: new URL(".", location.href).href,
    rtcConfiguration,
  });
  // This is for the console and for tests.
  Object.assign(window, { signaling: client });
  return client;
}

const configuration = await fetchConfiguration();
let client = newClient(configuration);
const devices = new Devices(client);

// A page that has left the call cannot continue it when the browser shows the page again.
window.addEventListener("pagehide", () => client.close());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

for (let returning = false; ; returning = true) {
  const room = await lobby(client, devices, returning);
  await call(client, devices, room);
  client = newClient(configuration);
  devices.use(client);
}
