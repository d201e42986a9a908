/** RUN: a command in either form, documents, mounts, network. */
import { Flags } from './flags.ts';
import { flaw, type Place } from './flaw.ts';
import { type Arguments, commandOf, type Reading } from './forms.ts';
import { openerOf } from './heredoc.ts';
import { type MountRead, mountOf } from './mounts.ts';
import type { Network } from './steps.ts';
import type { Step } from './written.ts';

type Run = Omit<Extract<Step, { readonly kind: 'run' }>, 'span' | 'text'>;

const NETWORKS: readonly Network[] = ['default', 'none', 'host'];

export function parseRun(args: Arguments, reading: Reading): Run {
  const { place } = reading;
  const flags = new Flags('RUN', args.flags, { mount: 'texts', network: 'text', security: 'text' }, place);
  if (flags.text('security') !== undefined && flags.text('security') !== 'sandbox') {
    throw flaw(
      place,
      '--security of RUN is not supported',
      'a RUN has the rights of a container; there is no insecure mode',
    );
  }
  const mounts = flags.texts('mount');
  for (const mount of mounts) provedMount(mount, place);
  return {
    kind: 'run',
    ...programOf(args, reading),
    mounts,
    network: networkOf(flags.text('network') ?? 'default', place),
  };
}

/** What can be said of a mount before its variables have values. */
function provedMount(text: string, place: Place): void {
  const plain = !/\$./.test(text);
  const read: MountRead = { place, expand: (word) => word, sourceOf: () => ({ kind: 'context' }), isProof: !plain };
  mountOf(text, read);
}

function networkOf(text: string, place: Place): Network {
  const network = NETWORKS.find((each) => each === text);
  if (network === undefined)
    throw flaw(place, `invalid network mode: "${text}"`, `choose one of ${NETWORKS.join(', ')}`);
  return network;
}

/**
 * The line of the shell, or a program of its own. A document alone is the line itself, or, with `#!`, a program; any other
 * documents go back to where the shell expects them. Source: BuildKit, dockerfile2llb/convert.go, dispatchRun.
 */
function programOf({ rest, heredocs }: Arguments, reading: Reading): Pick<Run, 'command' | 'script'> {
  const [only] = heredocs;
  if (only === undefined) return { command: commandOf('RUN', rest, reading) };
  if (openerOf(rest) === undefined) {
    const documents = heredocs.map(({ name, content }) => `\n${content}${name}`);
    return { command: { form: 'shell', line: `${rest}${documents.join('')}` } };
  }
  if (!only.content.startsWith('#!')) return { command: { form: 'shell', line: only.content } };
  if (only.name.includes('/')) throw flaw(reading.place, `a document's name has no /: ${only.name}`, 'name it EOF');
  return {
    command: { form: 'shell', line: `/dev/pipes/${only.name}` },
    script: { name: only.name, content: only.content },
  };
}
