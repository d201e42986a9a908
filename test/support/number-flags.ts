/** The flags of commands like `npm run test:survival`, all of them numbers. */
import { parseArgs } from 'node:util';
import { messageOf } from '../../common/errors.ts';

/** Of `args` (default: this process's), by name; with bad ones this process ends with 2 and says why. */
export function numberFlags<Name extends string>(
  defaults: Readonly<Record<Name, number>>,
  args = process.argv.slice(2),
): Readonly<Record<Name, number>> {
  try {
    return { ...defaults, ...numbersIn(args, Object.keys(defaults)) };
  } catch (cause) {
    console.error(
      `${messageOf(cause)}\nflags: ${Object.keys(defaults)
        .map((name) => `[--${name} N]`)
        .join(' ')}`,
    );
    return process.exit(2);
  }
}

/** Those that are given. @throws Error for what is no flag, or not a number from 0 */
export function numbersIn(args: readonly string[], names: readonly string[]): Readonly<Record<string, number>> {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
  const { values } = parseArgs({ args: [...args], options });
  return Object.fromEntries(
    Object.entries(values).map(([name, text]) => {
      if (!/^\d{1,12}(\.\d{1,12})?$/.test(String(text))) throw new Error(`--${name} ${text} is not a number from 0`);
      return [name, Number(text)];
    }),
  );
}
