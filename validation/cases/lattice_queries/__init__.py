"""Do interventions on a fitted model look like data simulated under the same intervention?"""
