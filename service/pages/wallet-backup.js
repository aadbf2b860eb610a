// The keystore as a file, a copy with the service, and the 24 words once more.

import { put } from "./api.js";
import { open, phraseOf } from "./keys.js";
import { Mistake } from "./text.js";
import { $, atAsync, download, el, onSubmit, show } from "./ui.js";
import { keystoreOf } from "./vault.js";

let shared;

export function showBackup(state) {
  shared = state;
  $("#keystore-said").textContent = state.user.has_keystore ? "The service keeps an encrypted copy." : "";
  return () => {
    $("#words-again").replaceChildren();
    show($("#words-again"), false);
  };
}

async function keystore() {
  const file = await keystoreOf(shared.user);
  if (!file) throw new Mistake("This browser does not have your keystore.");
  return file;
}

$("#save-keystore").addEventListener("click", async () => {
  try {
    const file = await keystore();
    download(`keystore-${shared.user.name}.json`, `${JSON.stringify(file, null, 2)}\n`);
  } catch (error) {
    $("#keystore-said").textContent = error.message;
  }
});

$("#upload-keystore").addEventListener("click", async () => {
  try {
    await put("/v1/me/keystore", await keystore());
    shared.user.has_keystore = true;
    $("#keystore-said").textContent = "The service keeps an encrypted copy now. It opens with your passphrase only.";
  } catch (error) {
    $("#keystore-said").textContent = error.message;
  }
});

onSubmit($("#words-form"), async (form) => {
  const entropy = await atAsync("passphrase", async () => open(await keystore(), form.get("passphrase")));
  const phrase = await phraseOf(entropy);
  entropy.fill(0);
  $("#words-again").replaceChildren(...phrase.map((word) => el("li", {}, word)));
  show($("#words-again"));
  $("#words-form").reset();
});
