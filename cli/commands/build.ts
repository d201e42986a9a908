/** `build`: an image from a Dockerfile, built on a node and put into the cluster. */
import type { Command } from 'commander';
import { systemClock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { callBuild } from '../build-call.ts';
import { type BuildProgress, DrawnProgress, LineProgress, NO_PROGRESS } from '../build-progress.ts';
import { sourceOf } from '../build-source.ts';
import { interruptible, withCluster } from '../client.ts';
import { secretsOf } from '../flags/build-secret.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';
import { sizeOf } from '../terminal.ts';

interface BuildFlags {
  readonly tag: readonly string[];
  readonly file?: string;
  readonly buildArg: readonly string[];
  readonly target?: string;
  readonly cache: boolean;
  readonly label: readonly string[];
  readonly pull?: boolean;
  readonly secret: readonly string[];
  readonly network?: string;
  readonly allow: readonly string[];
  readonly progress: string;
  readonly quiet?: boolean;
  readonly node?: string;
}

/** Adds `build`. */
export function addBuildCommand(parent: Command): void {
  const build = parent
    .command('build')
    .description('Build an image from a Dockerfile, on a node, into the cluster')
    .argument('<context>', 'a folder; the URL of a tar; or `-`: a tar or a Dockerfile on standard input')
    .option('-t, --tag <name[:tag]>', 'the image’s name; may be repeated', collected, [])
    .option('-f, --file <file>', 'the Dockerfile (default: CONTEXT/Dockerfile; `-`: standard input)')
    .option('--build-arg <name=value>', 'a value for ARG; NAME alone takes ours; may be repeated', collected, [])
    .option('--target <stage>', 'the stage to build')
    .option('--no-cache', 'do every step anew')
    .option('--label <key=value>', 'a label of the image; may be repeated', collected, [])
    .option('--secret <id=name,src=file>', 'a file, or env=VARIABLE, for RUN --mount=type=secret', collected, [])
    .option('--network <network>', 'of RUN: default, none or host')
    .option('--allow <entitlement>', 'network.host: RUN --network=host may be', collected, [])
    .option('--progress <auto|plain|tty|quiet>', 'how it is shown', 'auto')
    .option('--node <node>', 'where to build (default: a node with room, for the same folder the same)');
  addSwitch(build, '--pull', 'ask registries for newer base images');
  addSwitch(build, '-q, --quiet', 'only the image’s id');
  build.action(runBuild);
}

async function runBuild(context: string, flags: BuildFlags): Promise<void> {
  const signal = interruptible();
  const openProgress = progressOf(flags);
  if (flags.tag.length === 0) {
    throw new ClusterError('invalid', 'the image has no name', {
      field: '--tag',
      hint: 'give it one with -t NAME[:TAG]',
    });
  }
  const source = await sourceOf(context, flags.file, signal);
  const start: covey.v1.BuildStart.$Properties = {
    names: [...flags.tag],
    file: source.name,
    ...(source.text === undefined ? {} : { text: source.text }),
    target: flags.target ?? '',
    args: { ...reproducible(), ...variablesOf(flags.buildArg, '--build-arg') },
    labels: variablesOf(flags.label, '--label'),
    secrets: secretsOf(flags.secret, process.env),
    noCache: !flags.cache,
    pull: flags.pull === true,
    network: flags.network ?? '',
    allow: [...flags.allow],
    contextUrl: source.context.kind === 'url' ? source.context.url : '',
    hasContext: source.context.kind === 'tar',
    listedContext: source.context.kind === 'folder' ? source.context.origin : '',
  };
  let digest = '';
  await withCluster(async (_control, engine) => {
    const progress = openProgress();
    const show = (output: covey.v1.BuildOutput.$Properties): void => {
      digest = output.built || digest;
      progress.show(output);
    };
    try {
      await callBuild(engine, { first: { node: flags.node ?? '', start }, context: source.context, show }, signal);
    } finally {
      progress.end();
    }
  });
  // On standard output what scripts read.
  if (flags.quiet === true) process.stdout.write(`${digest}\n`);
  else for (const name of flags.tag) process.stderr.write(`built ${name} ${digest}\n`);
}

/** How it is to be shown; begins when it is called. @throws ClusterError `invalid` */
function progressOf({ progress, quiet }: BuildFlags): () => BuildProgress {
  const { stderr } = process;
  const canDraw = stderr.isTTY === true && sizeOf(stderr) !== undefined;
  const hint = 'choose auto, plain, tty or quiet';
  if (!['auto', 'plain', 'tty', 'quiet'].includes(progress))
    throw new ClusterError('invalid', `progress "${progress}" is not known`, { field: '--progress', hint });
  if (progress === 'tty' && !canDraw)
    throw new ClusterError('invalid', 'standard error is no terminal that can be drawn on', {
      field: '--progress',
      hint,
    });
  if (quiet === true || progress === 'quiet') return () => NO_PROGRESS;
  const isWanted = progress === 'tty' || (progress === 'auto' && process.env.TERM !== 'dumb');
  if (isWanted && canDraw) return () => new DrawnProgress(stderr, systemClock);
  return () => new LineProgress((text) => void stderr.write(text));
}

/** As docker buildx does. Source: reproducible-builds.org, SOURCE_DATE_EPOCH. */
function reproducible(): Record<string, string> {
  const { SOURCE_DATE_EPOCH } = process.env;
  return SOURCE_DATE_EPOCH === undefined ? {} : { SOURCE_DATE_EPOCH };
}

function variablesOf(pairs: readonly string[], field: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    if (name === '') throw new ClusterError('invalid', `"${pair}" has no name`, { field, hint: 'write NAME=VALUE' });
    const own = field === '--build-arg' ? process.env[name] : '';
    const value = at < 0 ? own : pair.slice(at + 1);
    if (value !== undefined) found[name] = value;
  }
  return found;
}
