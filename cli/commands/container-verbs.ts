/** `start stop restart kill pause unpause rm wait rename update attach`: what is done to containers without a service. */
import { type Command, Option } from 'commander';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { parseBytes, parseCpus } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { attached } from '../attachment.ts';
import { brief, type ControlClient, type EngineClient, interruptible, withCluster } from '../client.ts';
import { DETACH_KEYS } from '../detach-keys.ts';
import { EXIT } from '../exit.ts';
import { restartOf } from '../flags/container-flags.ts';
import { addSwitch } from '../flags/switch.ts';
import { wholeNumber } from '../flags/values.ts';

/** Declares them. */
export function addContainerVerbs(program: Command): void {
  addEnds(program);
  addAttach(program);
  const rm = program.command('rm <container...>').description('Remove containers');
  addSwitch(rm, '-f, --force', 'kill one that runs');
  addSwitch(rm, '-v, --volumes', 'with its volumes that nobody has named');
  rm.action(async (refs: readonly string[], { force = false, volumes = false }: RmFlags) => {
    await each(refs, (ref, { control }) => remove(control, { ref, force, volumes }), 'silent');
  });
  program
    .command('rename <container> <name>')
    .description('Give a container another name')
    .action(async (ref: string, name: string) => {
      await withCluster((control) => control.renameContainer({ ref, name }, brief()));
    });
  program
    .command('wait <container...>')
    .description('Wait until containers have ended, and print their exit codes')
    .action(async (refs: readonly string[]) => {
      const signal = interruptible();
      const told = async (ref: string, { engine }: Clients): Promise<void> => {
        const { code } = await engine.waitContainer({ container: ref }, { signal });
        process.stdout.write(`${code}\n`);
      };
      await each(refs, told, 'silent');
    });
  program
    .command('update <container...>')
    .description('Change the limits and the restart policy of containers')
    .option('-m, --memory <bytes>', 'memory ceiling; 0: none')
    .option('--memory-swap <bytes>', 'ceiling of memory and swap together; -1: no limit')
    .option('--cpus <cpus>', 'CPU ceiling; 0: none')
    .option('--pids-limit <n>', 'process ceiling; 0: none')
    .option('--restart <policy>', 'no, on-failure[:n], always or unless-stopped')
    .action(async (refs: readonly string[], flags: UpdateFlags) => {
      const change = changeOf(flags);
      if (Object.keys(change).length === 0) {
        throw new ClusterError('invalid', 'you must provide one or more flags when using this command', {
          field: '--memory',
          hint: 'see `covey update --help`',
        });
      }
      await each(
        refs,
        async (ref, { engine }) => void (await engine.updateContainer({ container: ref, ...change }, brief())),
      );
    });
}

function addEnds(program: Command): void {
  const time = (command: Command): Command =>
    command
      .option('-s, --signal <signal>', 'asks it to go with this signal instead of its own')
      .option('-t, --timeout <seconds>', 'time until it is killed; -1: for ever')
      .addOption(new Option('--time <seconds>', 'the same').hideHelp());
  const signal = interruptible;
  time(program.command('stop <container...>').description('Stop containers')).action(
    async (refs: readonly string[], flags: TimeFlags) => {
      await each(refs, async (ref, { engine }) => {
        await engine.stopContainer({ container: ref, ...endOf(flags) }, { signal: signal() });
      });
    },
  );
  time(program.command('restart <container...>').description('Stop containers and start them again')).action(
    async (refs: readonly string[], flags: TimeFlags) => {
      await each(refs, async (ref, { engine }) => {
        await engine.stopContainer({ container: ref, restart: true, ...endOf(flags) }, { signal: signal() });
      });
    },
  );
  program
    .command('kill <container...>')
    .description('Send containers a signal')
    .option('-s, --signal <signal>', 'name or number', 'KILL')
    .action(async (refs: readonly string[], flags: { signal: string }) => {
      await each(refs, async (ref, { engine }) => {
        await engine.killContainer({ container: ref, signal: flags.signal }, brief());
      });
    });
  for (const [name, resume] of [
    ['pause', false],
    ['unpause', true],
  ] as const) {
    program
      .command(`${name} <container...>`)
      .description(resume ? 'Let paused containers go on' : 'Stop every process of containers where it stands')
      .action(async (refs: readonly string[]) => {
        await each(
          refs,
          async (ref, { engine }) => void (await engine.pauseContainer({ container: ref, resume }, brief())),
        );
      });
  }
}

interface AttachFlags {
  readonly detachKeys: string;
  readonly stdin?: boolean;
  readonly sigProxy?: boolean;
  readonly attach?: boolean;
  readonly interactive?: boolean;
}

function addAttach(program: Command): void {
  program
    .command('attach <container>')
    .description('Go to the streams of a container that runs')
    .option('--detach-keys <keys>', 'keys that leave it running', DETACH_KEYS)
    .option('--no-stdin', 'give it no input')
    .option('--no-sig-proxy', 'do not pass signals on to it')
    .action(async (ref: string, flags: AttachFlags) => {
      process.exitCode = await withCluster((_control, engine) => attachTo(engine, ref, flags));
    });
  const start = program.command('start <container...>').description('Start containers');
  addSwitch(start, '-a, --attach', 'go to its streams');
  addSwitch(start, '-i, --interactive', 'give it our stdin');
  start
    .option('--detach-keys <keys>', 'keys that leave it running', DETACH_KEYS)
    .action(async (refs: readonly string[], flags: AttachFlags) => {
      if (flags.attach === true || flags.interactive === true) {
        const [ref = '', ...others] = refs;
        if (others.length > 0) {
          throw new ClusterError('invalid', 'you cannot start and attach multiple containers at once', {
            field: '--attach',
          });
        }
        const wish = { ...flags, stdin: flags.interactive === true, begin: true };
        process.exitCode = await withCluster((_control, engine) => attachTo(engine, ref, wish));
        return;
      }
      await each(refs, async (ref, { engine }) => {
        const { code, error } = await engine.startContainer({ container: ref }, { signal: interruptible() });
        if (code !== 0) throw new ClusterError('invalid', error);
      });
    });
}

async function attachTo(
  engine: EngineClient,
  ref: string,
  flags: AttachFlags & { readonly begin?: boolean },
): Promise<number> {
  const { id, nodeId, name, spec } = await engine.inspectContainer({ container: ref }, brief());
  const place = { node: nodeId, container: id };
  const tty = spec?.template?.container?.tty === true;
  const stdin = flags.stdin !== false && (spec?.input ?? '') !== '';
  const onSignal = async (signal: NodeJS.Signals): Promise<void> => {
    await engine.killContainer({ ...place, signal }, brief());
  };
  return await attached({
    start: { ...place, begin: flags.begin ?? false, stdin, tty },
    tty,
    detachKeys: flags.detachKeys,
    call: (inputs, options) => engine.attach(inputs, options),
    isHeard: false,
    lost: `what became of container ${name}`,
    ...(flags.sigProxy === false ? {} : { onSignal }),
  });
}

interface RmFlags {
  readonly force?: boolean;
  readonly volumes?: boolean;
}

interface TimeFlags {
  readonly time?: string;
  readonly timeout?: string;
  readonly signal?: string;
}

function endOf({ time, timeout = time, signal = '' }: TimeFlags): {
  readonly signal: string;
  readonly graceMs?: number;
} {
  if (timeout === undefined) return { signal };
  return { signal, graceMs: timeout === '-1' ? -1 : wholeNumber(timeout, '--timeout') * 1_000 };
}

interface UpdateFlags {
  readonly memory?: string;
  readonly memorySwap?: string;
  readonly cpus?: string;
  readonly pidsLimit?: string;
  readonly restart?: string;
}

function changeOf(flags: UpdateFlags): Partial<covey.v1.UpdateContainerRequest.$Properties> {
  const { memory, memorySwap, cpus, pidsLimit, restart } = flags;
  return {
    ...(memory === undefined ? {} : { memoryBytes: parseBytes(memory, '--memory') }),
    ...(memorySwap === undefined
      ? {}
      : { memorySwapBytes: memorySwap === '-1' ? -1 : parseBytes(memorySwap, '--memory-swap') }),
    ...(cpus === undefined ? {} : { nanoCpus: parseCpus(cpus, '--cpus') }),
    ...(pidsLimit === undefined ? {} : { pids: pidsLimit === '-1' ? 0 : wholeNumber(pidsLimit, '--pids-limit') }),
    ...(restart === undefined ? {} : restartOf(restart)),
  };
}

/** As Docker: with force, one that is not there is told, not named, and no failure. */
async function remove(control: ControlClient, wish: { readonly ref: string } & Required<RmFlags>): Promise<void> {
  const { ref, force } = wish;
  try {
    await control.removeContainer(wish, { signal: interruptible() });
    process.stdout.write(`${ref}\n`);
  } catch (cause) {
    if (!force || toClusterError(cause).code !== 'not_found') throw cause;
    process.stderr.write(`covey: ${toClusterError(cause).message}\n`);
  }
}

interface Clients {
  readonly control: ControlClient;
  readonly engine: EngineClient;
}

/** One after the other, each named when it is done; what fails is told, and the rest goes on. */
async function each(
  refs: readonly string[],
  work: (ref: string, clients: Clients) => Promise<void>,
  voice: 'named' | 'silent' = 'named',
): Promise<void> {
  await withCluster(async (control, engine) => {
    for (const ref of refs) {
      try {
        await work(ref, { control, engine });
        if (voice === 'named') process.stdout.write(`${ref}\n`);
      } catch (cause) {
        if (refs.length === 1) throw cause;
        process.stderr.write(`covey: ${toClusterError(cause).message}\n`);
        process.exitCode = EXIT.error;
      }
    }
  });
}
