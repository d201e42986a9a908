/** A step as it is written, with what is in force where it stands, becomes a step that can be done. */

import { cleanPath } from '../../../common/context/paths.ts';
import { ClusterError } from '../../../common/errors.ts';
import { signalNumber } from '../../runtime/signal.ts';
import { modeOf } from './chmod.ts';
import { proveDestination } from './destination.ts';
import { portsOf } from './expose.ts';
import { flaw, type Place, shortened } from './flaw.ts';
import { mountOf } from './mounts.ts';
import { type BuildPlan, sourceOf } from './plan.ts';
import { PROXIES } from './scope.ts';
import type { StageState } from './state.ts';
import type { Mount, ReadyStep, RunStep } from './steps.ts';
import { expandWord, type Variables } from './words.ts';
import type { Step, WrittenArg, WrittenTransfer } from './written.ts';

type Ready<Each = ReadyStep> = Each extends ReadyStep ? Omit<Each, 'span' | 'title'> : never;

/** Where a step stands. */
export interface Standing {
  readonly plan: BuildPlan;
  readonly stage: number;
  /** The file's name in errors; another one for triggers of a base image. */
  readonly file?: string;
}

/**
 * The step with every variable's value: of ENV, then of the ARGs in force.
 *
 * @param state  the stage's before this step
 * @throws ClusterError `invalid` naming file and line: a substitution that fails, a value that is no port, mode, mount or signal
 */
export function expandStep(step: Step, state: StageState, standing: Standing): ReadyStep {
  const place: Place = { file: standing.file ?? standing.plan.file.name, span: step.span, text: step.text };
  const expansion = new Expansion(state, standing, place);
  try {
    return { ...readyOf(step, expansion), span: step.span, title: shortened(step.text) };
  } catch (cause) {
    if (!(cause instanceof ClusterError) || cause.field?.startsWith(`${place.file}:`) === true) throw cause;
    throw flaw(place, cause.message, cause.hint);
  }
}

function readyOf(step: Step, here: Expansion): Ready {
  switch (step.kind) {
    case 'run':
      return runOf(step, here);
    case 'copy':
    case 'add':
      return transferOf(step, here);
    case 'arg':
      return { kind: 'arg', args: step.args.map((arg) => argOf(arg, here)) };
    case 'env':
      return { kind: 'env', pairs: pairsOf(step.pairs, here, 'ENV') };
    case 'label':
      return { kind: 'label', pairs: pairsOf(step.pairs, here, 'LABEL') };
    case 'workdir':
      return { kind: 'workdir', path: here.word(step.word) };
    case 'user':
      return { kind: 'user', user: here.filled(step.word, 'USER', 'write USER NAME or USER 1000') };
    case 'stopsignal':
      return { kind: 'stopsignal', signal: signalOf(here.word(step.word)) };
    case 'expose':
      return { kind: 'expose', ports: step.words.flatMap((word) => here.words(word)).flatMap(portsOf) };
    case 'volume':
      return { kind: 'volume', paths: step.words.map((word) => here.filled(word, 'VOLUME', 'write VOLUME PATH')) };
    case 'cmd':
    case 'entrypoint':
      return { kind: step.kind, command: step.command };
    case 'healthcheck':
      return { kind: 'healthcheck', check: step.check };
    case 'shell':
      return { kind: 'shell', argv: step.argv };
    case 'onbuild':
      return { kind: 'onbuild', trigger: step.trigger };
    case 'maintainer':
      return { kind: 'maintainer', name: step.name };
  }
}

/** What words are expanded with. */
class Expansion {
  readonly state: StageState;
  readonly standing: Standing;
  readonly place: Place;
  readonly #variables: Variables;
  readonly #escape: string;

  constructor(state: StageState, standing: Standing, place: Place) {
    this.state = state;
    this.standing = standing;
    this.place = place;
    this.#variables = variablesOf(state);
    this.#escape = standing.plan.file.escape;
  }

  word(word: string): string {
    return expandWord(word, this.#variables, { escape: this.#escape }).text;
  }

  words(word: string): readonly string[] {
    return expandWord(word, this.#variables, { escape: this.#escape }).words;
  }

  /** A word that must not come to nothing. */
  filled(word: string, keyword: string, hint: string): string {
    const text = this.word(word);
    if (text === '') throw flaw(this.place, `${keyword} specified can not be an empty string`, hint);
    return text;
  }

  /** A document: quotes are text in it. Its escape is always the backslash. Source: BuildKit, SourcesAndDest.ExpandRaw. */
  document(content: string): string {
    return expandWord(content, this.#variables, { escape: '\\', quotesAreText: true }).text;
  }
}

/** ENV wins over ARG. Source: Dockerfile reference, "Using ARG variables". */
function variablesOf(state: StageState): Variables {
  const variables = new Map<string, string>();
  for (const [name, value] of state.args) if (value !== undefined) variables.set(name, value);
  for (const entry of state.config.env) {
    const at = entry.indexOf('=');
    variables.set(at === -1 ? entry : entry.slice(0, at), at === -1 ? '' : entry.slice(at + 1));
  }
  return variables;
}

function runOf(step: Extract<Step, { readonly kind: 'run' }>, here: Expansion): RunStep {
  const { given } = here.standing.plan;
  const env = variablesOf(here.state);
  const args = [...here.state.args].flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${env.get(name)}`],
  );
  const proxies = PROXIES.flatMap((name) => {
    const value = given.args.get(name);
    return value === undefined || here.state.args.has(name) ? [] : [`${name}=${value}`];
  });
  return {
    kind: 'run',
    command: step.command,
    ...(step.script === undefined ? {} : { script: step.script }),
    mounts: step.mounts.map((mount) => mountAt(mount, here)),
    network: step.network,
    args,
    proxies,
  };
}

function mountAt(text: string, here: Expansion): Mount {
  const { plan, stage } = here.standing;
  const mount = mountOf(text, {
    place: here.place,
    expand: (word) => here.word(word),
    sourceOf: (from) => sourceOf(plan.file, stage, from, here.place),
    isProof: false,
    workdir: here.state.config.workdir,
  });
  if (mount === undefined) throw flaw(here.place, `--mount=${text} comes to nothing`);
  return mount;
}

function transferOf(step: WrittenTransfer, here: Expansion): Ready {
  const sources = step.sources.map((word) => here.word(word));
  const dest = here.filled(step.dest, step.kind.toUpperCase(), 'write the destination last; the current folder is .');
  const blank = sources.indexOf('');
  if (blank !== -1) {
    throw flaw(
      here.place,
      `the source ${step.sources[blank]} comes to nothing`,
      'give its variable a value; the whole context is .',
    );
  }
  proveDestination(step.kind.toUpperCase(), dest, sources.length + step.documents.length);
  if (step.from === undefined) for (const source of sources) proveInside(source, here);
  const common = {
    documents: step.documents.map(({ name, content, expand }) => ({
      name,
      content: expand ? here.document(content) : content,
    })),
    dest,
    ...optional('chown', step.chown, here),
    ...(step.chmod === undefined ? {} : { chmod: modeOf(here.word(step.chmod)) }),
    link: step.link,
    exclude: step.exclude.map((word) => here.word(word)),
  };
  if (step.kind === 'add') return addOf(step, sources, common, here);
  const { plan, stage } = here.standing;
  const from =
    step.from === undefined ? ({ kind: 'context' } as const) : sourceOf(plan.file, stage, step.from, here.place);
  return { kind: 'copy', ...common, sources, from, parents: step.parents };
}

/** A context has nothing above it; an image's `..` ends at its root, as it does in a container. */
function proveInside(source: string, here: Expansion): void {
  if (REMOTE.test(source) || !/^\.\.(?:\/|$)/.test(cleanPath(source.replace(/^\/+/, '')))) return;
  throw flaw(here.place, `forbidden path outside the build context: ${source}`, 'build with a context that holds it');
}

const REMOTE = /^https?:\/\//i;
const GIT = /^(?:git@|git:\/\/|ssh:\/\/)|^https?:\/\/[^?#]*\.git(?:$|[#?])/i;

type Common = Pick<
  Extract<ReadyStep, { readonly kind: 'add' }>,
  'documents' | 'dest' | 'link' | 'exclude' | 'chown' | 'chmod'
>;

function addOf(step: WrittenTransfer, sources: readonly string[], common: Common, here: Expansion): Ready {
  const git = sources.find((source) => GIT.test(source));
  if (git !== undefined) {
    throw flaw(
      here.place,
      `ADD of a git repository is not supported: ${git}`,
      'clone in a RUN, or put it into the build context',
    );
  }
  const urls = sources.filter((source) => REMOTE.test(source));
  const checksum = step.checksum === undefined ? undefined : here.word(step.checksum);
  if (checksum !== undefined && !/^sha256:[0-9a-f]{64}$/.test(checksum)) {
    throw flaw(here.place, `--checksum: "${checksum}" is no digest`, 'write sha256: and 64 hexadecimal digits');
  }
  if (checksum !== undefined && (urls.length !== 1 || sources.length !== 1)) {
    throw flaw(
      here.place,
      "checksum can't be specified for multiple or local sources",
      'add the one URL in an ADD of its own',
    );
  }
  return {
    kind: 'add',
    ...common,
    sources: sources.filter((source) => !REMOTE.test(source)),
    urls,
    ...(checksum === undefined ? {} : { checksum }),
    ...(step.unpack === undefined ? {} : { unpack: step.unpack }),
  };
}

function optional(name: 'chown', word: string | undefined, here: Expansion): { readonly chown?: string } {
  return word === undefined ? {} : { [name]: here.filled(word, '--chown', 'write --chown=USER:GROUP') };
}

/**
 * The value of an ARG here: the build argument, else its default, else what an ARG before the first FROM, or an earlier one of
 * the stage, says.
 */
function argOf(arg: WrittenArg['args'][number], here: Expansion): { readonly name: string; readonly value?: string } {
  const { given } = here.standing.plan;
  const name = here.filled(arg.name, 'ARG', 'write ARG NAME=DEFAULT');
  const standard =
    arg.value === undefined ? (given.globals.get(name) ?? here.state.args.get(name)) : here.word(arg.value);
  const value = given.args.get(name) ?? standard;
  return value === undefined ? { name } : { name, value };
}

function pairsOf(
  pairs: readonly { readonly name: string; readonly value: string }[],
  here: Expansion,
  keyword: string,
): readonly { readonly name: string; readonly value: string }[] {
  return pairs.map(({ name, value }) => ({
    name: here.filled(name, `${keyword} name`, `write ${keyword} NAME=VALUE`),
    value: here.word(value),
  }));
}

function signalOf(text: string): string {
  if (text === '') throw new ClusterError('invalid', 'STOPSIGNAL is empty', { hint: 'write SIGTERM, TERM or 15' });
  signalNumber(text);
  return text;
}
