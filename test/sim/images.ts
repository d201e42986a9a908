/** The pretend images: what a container of each does. The behaviour is in the name, as `crash-3000:7`. */

export interface Behaviour {
  /** Refused before anything is started. */
  readonly isAbsent: boolean;
  /** How long its node prepares it; undefined: a second or so. */
  readonly pullMs: number | undefined;
  /** From exec to ready; undefined: never, the start times out. */
  readonly startMs: number | undefined;
  /** Ends by itself so long after exec. */
  readonly endsAfterMs: number | undefined;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Ignores the stop signal: it takes the whole grace period. */
  readonly isDeaf: boolean;
}

const WELL: Behaviour = {
  isAbsent: false,
  pullMs: undefined,
  startMs: 300,
  endsAfterMs: undefined,
  exitCode: 0,
  oomKilled: false,
  isDeaf: false,
};

/** Reads the behaviour from the image's name; a number behind the dash is in milliseconds, the tag means nothing. */
export function behaviourOf(image: string): Behaviour {
  const [name = '', number = ''] = (image.split(':')[0] ?? '').split('-');
  const ms = Number(number);
  switch (name) {
    case 'crash':
      return { ...WELL, endsAfterMs: ms, exitCode: 1 };
    case 'done':
      return { ...WELL, endsAfterMs: ms };
    case 'oom':
      return { ...WELL, endsAfterMs: ms, exitCode: 137, oomKilled: true };
    case 'slow':
      return { ...WELL, startMs: ms };
    case 'sick':
      return { ...WELL, startMs: undefined };
    case 'deaf':
      return { ...WELL, isDeaf: true };
    case 'absent':
      return { ...WELL, isAbsent: true, pullMs: number === '' ? undefined : ms };
    case 'far':
      return { ...WELL, pullMs: ms };
    default:
      return WELL;
  }
}

/** Images that come up and stay. */
export const GOOD_IMAGES = ['ok', 'ok', 'ok', 'slow-4000', 'deaf', 'far-12000'] as const;
/** Images that do not. */
export const BAD_IMAGES = [
  'crash-200',
  'crash-3000',
  'crash-20000',
  'done-5000',
  'oom-8000',
  'sick',
  'absent',
] as const;
