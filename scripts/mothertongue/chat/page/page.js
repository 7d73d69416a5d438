"use strict";
// Text of models and people becomes text nodes alone (textContent), never markup.

const SIDES = ["adapter", "base"];
const NAMES = { adapter: "Adapter", base: "Base model" };
const VOTES = ["left", "right", "tie", "both bad"];

const at = id => document.getElementById(id);
const [both, blind, message, system, send, stop] = ["both", "blind", "message", "system", "send", "stop"].map(at);

let language = "";
let key = "";
let histories = { adapter: [], base: [] };
let running = null; // what stops the answers that are being written
let open = null; // the turn that can be voted on

function create(name, classes, text, parent) {
  const made = document.createElement(name);
  made.className = classes;
  made.textContent = text;
  parent?.append(made);
  return made;
}

function createText(name, classes, text, parent) {
  const made = create(name, `text ${classes}`, text, parent);
  made.dir = "auto";
  if (language) made.lang = language;
  return made;
}

function say(text) {
  at("status").textContent = text;
}

function headers() {
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
}

async function reasonOf(response) {
  if (response.status === 401) at("ask-key").hidden = false;
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answers with the status ${response.status}`;
  }
}

async function load() {
  const response = await fetch("settings", { headers: headers() });
  if (!response.ok) {
    const reason = await reasonOf(response);
    say(reason);
    if (response.status === 401) at("key").focus();
    return;
  }
  const settings = await response.json();
  language = settings.language;
  at("ask-key").hidden = true;
  at("served").textContent = settings.adapter;
  system.value = settings.system_prompt;
  // A merged model has no base model to compare with.
  for (const one of [both, blind]) one.parentElement.hidden = !settings.models.includes("base");
  message.focus();
}

// Returns a new id; crypto.randomUUID is not there where the page comes without TLS from another machine.
function drawId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

// Yields the data of each event of a stream.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
  }
}

// Asks a model, handing pieces of its answer to `onText`; returns why it ended. Throws an Error with the reason.
async function ask(model, messages, signal, onText) {
  const body = JSON.stringify({ model, messages, stream: true });
  const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body, signal });
  if (!response.ok) throw new Error(await reasonOf(response));
  let reason = null;
  for await (const data of events(response)) {
    if (data === "[DONE]") return reason;
    const { choices, error } = JSON.parse(data);
    if (error) throw new Error(error.message);
    onText(choices[0].delta.content ?? "");
    reason = choices[0].finish_reason ?? reason;
  }
  throw new Error("the server ended before the answer did");
}

// Runs a change of the conversation; keeps its end in view where it was.
function change(act) {
  const view = document.querySelector("main");
  const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 60;
  act();
  if (atEnd) view.scrollTop = view.scrollHeight;
}

function addTurn(question) {
  const isBoth = both.checked;
  const isBlind = isBoth && blind.checked;
  const order = !isBoth ? ["adapter"] : isBlind && crypto.getRandomValues(new Uint8Array(1))[0] % 2 ? ["base", "adapter"] : SIDES;
  const section = create("section", "turn", "");
  section.setAttribute("aria-label", "Question and answers");
  createText("p", "question", question, section);
  const row = create("div", isBoth ? "answers two" : "answers", "", section);
  const answers = order.map((side, i) => {
    const box = create("article", "answer", "", row);
    const name = isBlind ? "AB"[i] : NAMES[side];
    const title = create("h2", "", name, box);
    const text = createText("div", "waiting", "", box);
    return { side, name, box, title, text, note: create("p", "note", "", box), reason: null, failed: false };
  });
  at("conversation").append(section);
  return { question, section, answers, isBoth, isBlind, sent: {} };
}

async function answer(turn, one, signal) {
  try {
    one.reason = await ask(one.side, turn.sent[one.side], signal, piece => change(() => one.text.append(piece)));
    if (one.reason === "length") one.note.textContent = "cut: the longest answer was reached";
    if (!one.text.textContent) one.note.textContent = "(an empty answer)";
  } catch (error) {
    one.note.textContent = signal.aborted ? "stopped" : error.message;
    one.failed = !signal.aborted;
    one.note.classList.toggle("failed", one.failed);
  }
  one.text.classList.remove("waiting");
  one.text.normalize();
}

async function submit() {
  const question = message.value;
  if (running || !question.trim()) return;
  closeVote();
  const turn = addTurn(question);
  for (const { side } of turn.answers) {
    turn.sent[side] = [{ role: "system", content: system.value }, ...histories[side], { role: "user", content: question }];
  }
  message.value = "";
  running = new AbortController();
  update();
  say("Answering");
  const view = document.querySelector("main");
  view.scrollTop = view.scrollHeight;
  const { signal } = running;
  await Promise.all(turn.answers.map(one => answer(turn, one, signal)));
  running = null;
  end(turn);
  update();
}

// Keeps a turn in the histories, and asks for a vote; one without all answers is no part of the conversation.
function end(turn) {
  const { answers } = turn;
  say(answers.map(one => [turn.isBoth ? `${one.name}:` : "", one.text.textContent, one.note.textContent].join(" ")).join(". "));
  if (answers.some(one => one.failed || !one.text.textContent && !one.reason)) {
    for (const one of answers) if (!one.failed) one.note.textContent += " (this question is no part of the conversation)";
    if (answers.some(one => one.failed) && !message.value) message.value = turn.question;
    return;
  }
  for (const one of answers) {
    histories[one.side] = [
      ...histories[one.side],
      { role: "user", content: turn.question },
      { role: "assistant", content: one.text.textContent },
    ];
  }
  if (turn.isBoth && answers.every(one => one.reason)) askVote(turn);
}

function askVote(turn) {
  open = turn;
  // Two votes of one id are one: the server may have the first, though its answer was lost.
  turn.id = drawId();
  const [left, right] = turn.answers.map(one => one.name);
  change(() => {
    turn.bar = create("div", "votes", "", turn.section);
    turn.bar.setAttribute("role", "group");
    turn.bar.tabIndex = -1;
    create("p", "", "Which answer is better?", turn.bar).id = "asked-vote";
    turn.bar.setAttribute("aria-labelledby", "asked-vote");
    [`${left} is better`, `${right} is better`, "A tie", "Both bad"].forEach((text, i) => {
      const button = create("button", "", `${text} `, turn.bar);
      button.type = "button";
      button.setAttribute("aria-keyshortcuts", String(i + 1));
      create("kbd", "", String(i + 1), button).setAttribute("aria-hidden", "true");
      button.addEventListener("click", () => vote(VOTES[i]));
    });
  });
  // Somebody who is writing already goes on. Not the first button: Enter, pressed by habit, would be a vote.
  if (!message.value) turn.bar.focus();
}

function closeVote() {
  open?.bar.remove();
  open = null;
}

async function vote(choice) {
  const turn = open;
  if (!turn || turn.isSending) return;
  turn.isSending = true;
  const [left, right] = turn.answers;
  const given = {
    id: turn.id,
    ...asked(turn.sent),
    answers: Object.fromEntries(SIDES.map(side => [side, turn.answers.find(one => one.side === side).text.textContent])),
    left: left.side,
    blind: turn.isBlind,
    vote: { left, right }[choice]?.side ?? choice,
  };
  let kept = given.vote;
  let failure = "";
  try {
    const response = await fetch("votes", { method: "POST", headers: headers(), body: JSON.stringify(given) });
    if (response.status === 409) kept = (await response.json()).vote;
    else if (!response.ok) failure = `The vote is not kept: ${await reasonOf(response)}`;
  } catch (error) {
    failure = `No answer says whether the vote is kept (${error.message}): vote again`;
  }
  turn.isSending = false;
  turn.bar.querySelector(".failed")?.remove();
  if (failure) {
    create("p", "failed", failure, turn.bar);
    say(failure);
    return;
  }
  const chosen = turn.answers.find(one => one.side === kept);
  const verdict = chosen ? `${chosen.name} is better` : kept === "tie" ? "A tie" : "Both bad";
  const said = kept === given.vote ? verdict : `${verdict} (the first one had arrived, and stays)`;
  change(() => {
    if (open === turn) closeVote();
    if (turn.isBlind) for (const one of turn.answers) one.title.textContent = `${one.name}: ${NAMES[one.side]}`;
    chosen?.box.classList.add("chosen");
    create("p", "note", `Your vote: ${said}`, turn.section);
  });
  if (open) return; // somebody has gone on, and reads the next answers
  say(`Vote kept: ${said}. ${turn.isBlind ? `${left.name} is the ${NAMES[left.side]}, ${right.name} the ${NAMES[right.side]}` : ""}`);
  message.focus();
}

// Returns what was asked: the whole conversation where both sides have the same, else what they share, and both.
function asked(sent) {
  const [adapter, base] = SIDES.map(side => sent[side].filter(({ role, content }) => role !== "system" || content));
  if (JSON.stringify(adapter) === JSON.stringify(base)) return { messages: adapter };
  return { messages: adapter.filter(({ role }) => role !== "assistant"), conversations: { adapter, base } };
}

function update() {
  const begun = at("conversation").childElementCount > 0;
  both.disabled = begun;
  blind.disabled = begun || !both.checked;
  at("fixed").hidden = !begun;
  send.hidden = Boolean(running);
  stop.hidden = !running;
  at("new").disabled = Boolean(running) || !begun;
}

at("composer").addEventListener("submit", event => {
  event.preventDefault();
  submit();
});
message.addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape" && running) running.abort();
  const isTyping = event.target.matches("textarea, input[type=password]");
  const choice = ["1", "2", "3", "4"].indexOf(event.key);
  if (choice >= 0 && open && !isTyping && !event.ctrlKey && !event.altKey && !event.metaKey) vote(VOTES[choice]);
});
stop.addEventListener("click", () => {
  running?.abort();
  message.focus();
});
at("new").addEventListener("click", () => {
  closeVote();
  histories = { adapter: [], base: [] };
  at("conversation").replaceChildren();
  update();
  say("A new conversation");
  message.focus();
});
both.addEventListener("change", update);
at("ask-key").addEventListener("submit", event => {
  event.preventDefault();
  key = at("key").value;
  load();
});
update();
load();
