/** Flags that stand alone or say `=true` or `=false`, as Docker's. */
import { type Command, Option } from 'commander';

/** One spelling with its value: for commander a flag of its own, which sets the option of the plain one. */
class Spelled extends Option {
  readonly #key: string;

  constructor(plain: Option, value: boolean) {
    super(`${plain.long}=${value}`);
    this.#key = plain.attributeName();
    this.negate = !value;
    this.hideHelp();
  }

  override attributeName(): string {
    return this.#key;
  }
}

/**
 * Declares `flags` (`-t, --tty`): true alone, or as its value says. The value is never a word of its own: commander's
 * `--tty [bool]` would take the image in `--tty web:1` for one.
 */
export function addSwitch(command: Command, flags: string, help: string): void {
  const plain = new Option(flags, help);
  command.addOption(plain).addOption(new Spelled(plain, true)).addOption(new Spelled(plain, false));
}
