// The list of brokers that a program is given.

/** One object for each broker, from one endpoint or several for each purpose: { egress, control }. The first endpoints of
 * all purposes belong to the first broker, and so on. Throws a RangeError if there are none, or if the numbers differ. */
export function brokerList(endpoints) {
  const lists = Object.entries(endpoints).map(([name, each]) => [name, [each].flat()]);
  const count = lists[0][1].length;
  if (count === 0 || lists.some(([, each]) => each.length !== count)) {
    const numbers = lists.map(([name, each]) => `${each.length} for ${name}`).join(", ");
    throw new RangeError(`expected the same number of endpoints for each purpose, at least one, got ${numbers}`);
  }
  return Array.from({ length: count }, (_, i) => Object.fromEntries(lists.map(([name, each]) => [name, each[i]])));
}

/** The endpoints of a purpose, for messages. */
export const namesOf = (brokers, purpose) => brokers.map((broker) => broker[purpose]).join(", ");
