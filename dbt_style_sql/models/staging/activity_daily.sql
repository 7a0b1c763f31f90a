-- One row per subject, study program and day: see activity_daily.yml.
{{ exported_rows('ActivityDaily', [
    ('DATE', 'date', 'date'),
    ('WEARMINUTES', 'double', 'wear_minutes'),
    ('NONWEARMINUTES', 'double', 'nonwear_minutes'),
    ('SLEEPMINUTES', 'double', 'sleep_minutes'),
    ('SEDENTARYMINUTES', 'double', 'sedentary_minutes'),
    ('LIGHTMINUTES', 'double', 'light_minutes'),
    ('MODERATEMINUTES', 'double', 'moderate_minutes'),
    ('VIGOROUSMINUTES', 'double', 'vigorous_minutes'),
    ('MVPAMINUTES', 'double', 'moderate_to_vigorous_minutes'),
    ('STEPS', 'double', 'steps'),
    ('MET', 'double', 'mean_met'),
    ('CALORIES', 'double', 'kilocalories'),
]) }}
