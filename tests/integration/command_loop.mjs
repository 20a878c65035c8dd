// The loop of a driver: a command a line on standard input, [name, ...arguments] in JSON, and a line in answer.
import { createInterface } from "node:readline";

// Calls commands[name](...arguments) for each line, until the input ends. `describe` makes the answer of an error.
export async function serve(commands, describe = (error) => ({ error: error.name, text: error.message })) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...args] = JSON.parse(line);
    let answer;
    try {
      answer = { value: await commands[name](...args) ?? null };
    } catch (error) {
      answer = describe(error);
    }
    console.log(JSON.stringify(answer));
  }
}
